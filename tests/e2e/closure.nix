# A chain of n paths, each referring to the one before; `tag` tells runs apart. A build has many
# outputs, as nix's sandbox makes a network namespace for each build, which takes its time.
{ n ? 30, per ? 30, tag ? "x" }:
let
  outputs = builtins.genList (i: "p${toString i}") per;
  group = g: derivation {
    name = "chain-${toString g}";
    inherit outputs;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin";
    before = if g == 0 then "" else (group (g - 1))."p${toString (per - 1)}";
    args = [ "-c" ''
      before=$before
      for name in $outputs; do
        eval "out=\$$name"
        mkdir $out; echo ${tag} ${toString g} $name > $out/data
        echo '#!/bin/sh' > $out/run; chmod +x $out/run; ln -s data $out/link
        echo $before > $out/before
        before=$out
      done'' ];
  };
in (group (n / per - 1))."p${toString (per - 1)}"
