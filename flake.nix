{
  description = "peerix: your machines as one Nix binary cache, over any network";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      each = f: builtins.listToAttrs (map
        (system: { name = system; value = f nixpkgs.legacyPackages.${system}; })
        systems);
      package = pkgs: pkgs.callPackage ./deploy/package.nix { };
    in
    {
      packages = each (pkgs: { default = package pkgs; peerix = package pkgs; });

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ (package pkgs) ];
          packages = with pkgs; [ clang clang-tools curl iproute2 procps util-linux xz jq groff mandoc zsh fish nginx openssl systemd avahi dbus ];
        };
      });

      apps = each (pkgs: {
        default = { type = "app"; program = "${package pkgs}/bin/peerix"; };
      });

      checks = each (pkgs: { build = (package pkgs).override { runTests = true; }; });

      overlays.default = final: _prev: { peerix = final.callPackage ./deploy/package.nix { }; };
    };
}
