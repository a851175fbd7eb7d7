# The fleet for Colmena: every host of hosts/, with the profiles that the images were made of.
{ nixpkgs }:
let
  inherit (nixpkgs) lib;
  fleet = import ./hosts { inherit lib; };
  pkgsOf = system: import nixpkgs { inherit system; };
in
{
  meta = {
    name = "mpyc-party";
    description = "A network of MPyC parties";
    nixpkgs = pkgsOf "x86_64-linux";
    nodeNixpkgs = lib.mapAttrs (_: host: pkgsOf host.system) fleet;
  };
}
// lib.mapAttrs (name: host: {
  imports = host.modules;
  deployment = {
    # One without an address is reached by its name, through mpyc-party connect (docs/nixos.md).
    targetHost = host.address or name;
    targetUser = "root";
    tags = [
      host.platform
      host.role
    ]
    ++ lib.optional (host ? region) host.region;
    # A Raspberry Pi builds for itself; --no-build-on-target where the machine at hand can.
    buildOnTarget = host.system == "aarch64-linux";
  };
}) fleet
