# A NixOS system of the real nixpkgs, for describe.nix.
{ nixpkgs }:
{
  system =
    module:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = null;
      modules = [
        ../../modules
        module
        {
          nixpkgs.hostPlatform = "x86_64-linux";
          boot.isContainer = true;
          system.stateVersion = "26.05";
        }
      ];
    }).config;
}
