# n paths in a chain of references, each with some bytes of its own; `tag` tells runs apart.
{ n ? 10, tag ? "x" }:
let
  path = i: derivation {
    name = "link-${toString i}";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "mkdir $out; echo ${tag} ${toString i} > $out/data; echo '#!/bin/sh' > $out/run; chmod +x $out/run; ln -s data $out/link; for d in $deps; do echo $d >> $out/deps; done" ];
    PATH = "/bin:/usr/bin";
    deps = if i == 0 then [ ] else [ (path (i - 1)) ];
  };
in path (n - 1)
