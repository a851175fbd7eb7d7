{
  description = "Secure ad hoc sessions for multiparty computation with MPyC";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});

      hive = import ./colmena.nix { inherit nixpkgs; };
      fleet = import ./hosts { inherit lib; };
      nixos =
        { system, modules }:
        lib.nixosSystem { modules = modules ++ [ { nixpkgs.hostPlatform = system; } ]; };
      image = {
        digitalOcean = nixos {
          system = "x86_64-linux";
          modules = [ ./images/digitalocean.nix ];
        };
        raspberryPi4 = nixos {
          system = "aarch64-linux";
          modules = [ ./images/raspberry-pi-4.nix ];
        };
      };
    in
    {
      packages = forAll (pkgs: rec {
        default = mpyc-party;
        mpyc-party = pkgs.callPackage ./agent/package.nix { };
        python = pkgs.callPackage ./agent/python.nix { };
        inherit (python) mpyc;
        # Each is built for its own machine: another one needs emulation or a remote builder.
        digitalOceanImage = image.digitalOcean.config.system.build.digitalOceanImage;
        raspberryPi4Image = image.raspberryPi4.config.system.build.sdImage;
      });

      overlays.default = final: _: {
        mpyc-party = final.callPackage ./agent/package.nix { };
        mpyc-party-python = final.callPackage ./agent/python.nix { };
      };

      nixosModules = rec {
        default = mpyc-party;
        mpyc-party = ./modules;
      };

      nixosConfigurations =
        lib.mapAttrs (_: host: nixos { inherit (host) system modules; }) fleet // image;

      colmena = hive;
      # What Colmena 0.5 looks for: the nodes, evaluated, under names of its own.
      colmenaHive = import ./hosts/hive.nix { inherit lib hive; };

      checks = forAll (
        pkgs:
        import ./tests/nix/checks.nix {
          inherit pkgs;
          module = self.nixosModules.default;
        }
      );

      devShells = forAll (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.mpyc-party ];
          packages = [
            pkgs.cargo-deny
            pkgs.clippy
            pkgs.colmena
            pkgs.nftables
            pkgs.rustfmt
            self.packages.${pkgs.stdenv.hostPlatform.system}.python
          ];
        };
      });

      formatter = forAll (pkgs: pkgs.nixfmt-tree);

      apps = forAll (
        pkgs:
        let
          packages = self.packages.${pkgs.stdenv.hostPlatform.system};
          run = name: script: {
            type = "app";
            program = lib.getExe (pkgs.writeShellScriptBin name script);
            meta.description = "mpyc-party ${name}";
          };
          settings = (pkgs.formats.toml { }).generate "config.toml" {
            python.interpreter = "${packages.python}/bin/python3";
          };
        in
        {
          default = run "party" ''exec ${lib.getExe packages.mpyc-party} "$@"'';
          demo = run "demo" ''exec ${lib.getExe packages.mpyc-party} --config ${settings} demo "$@"'';
        }
      );
    };
}
