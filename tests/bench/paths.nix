# What the benchmarks move. `small`: n little paths, the outputs of one derivation, each referring to up
# to four others like a closure does; the first refers, through them, to all. `big`: mib MiB that do not
# compress. `sparse`: bytes of zeros that take no disk.
{ n ? 1000, mib ? 1024, bytes ? 10000000000 }:
let
  inherit (builtins) genList toString concatStringsSep;
  names = genList (i: if i == 0 then "out" else "p${toString i}") n;
  path = name: script: attrs: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/bin:/usr/bin";
  } // attrs);
in {
  small = path "small" ''
    set -- ${concatStringsSep " " (map (o: "$" + o) names)}
    i=0
    for p in "$@"; do
      mkdir "$p"
      head -c 2000 /dev/urandom > "$p/data"
      for k in 1 2 3 4; do
        j=$((4 * i + k + 1))
        if [ $j -le $# ]; then eval "echo \''${$j}" >> "$p/references"; fi
      done
      i=$((i + 1))
    done
  '' { outputs = names; };
  big = path "big" "head -c $((${toString mib} * 1048576)) /dev/urandom > $out" { };
  sparse = path "sparse" "truncate -s ${toString bytes} $out" { };
}
