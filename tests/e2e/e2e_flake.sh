#!/usr/bin/env bash
# The flake evaluates, with a stub in nixpkgs' place: every output, on every system. Evaluation only.
. "$(dirname "$0")/lib.sh"
root=$(cd "$HERE/../.." && pwd)
# a copy of what git tracks, so that nix needs neither git nor a clean tree
mkdir -p "$T/src" "$T/stub"
tar -C "$root" --exclude='./build*' --exclude=./.git -cf - . | tar -C "$T/src" -xf -
cp "$HERE/stub-nixpkgs/flake.nix" "$T/stub/"
flake() {
    HOME=$T NIX_REMOTE="local?root=$T/store" NIX_CONFIG="experimental-features = nix-command flakes
build-users-group =
flake-registry =
substituters =" nix "$@" --override-input nixpkgs "path:$T/stub" --no-write-lock-file
}
check "nix flake show" flake flake show "path:$T/src"
for output in packages devShells checks; do
    attr=default; [ $output = checks ] && attr=build
    for system in x86_64-linux aarch64-linux; do
        check "$output.$system.$attr evaluates" flake eval --raw "path:$T/src#$output.$system.$attr.drvPath"
    done
done
check "the app points at the program" grep -q '/bin/peerix$' <(flake eval --raw "path:$T/src#apps.x86_64-linux.default.program")
check "the overlay gives the package" flake eval --raw "path:$T/src#overlays.default" --apply 'o: (o { callPackage = f: a: "ok"; } { }).peerix'
check "the package keeps its name" grep -q peerix <(flake eval --raw "path:$T/src#packages.x86_64-linux.default.name")
finish
