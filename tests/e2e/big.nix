# One path of `mib` MiB of incompressible bytes.
{ mib ? 64, tag ? "x" }:
derivation {
  name = "big-${tag}";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "head -c $((${toString mib} * 1024 * 1024)) /dev/urandom > $out" ];
  PATH = "/bin:/usr/bin";
}
