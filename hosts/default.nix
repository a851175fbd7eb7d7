# The fleet, by host name: hosts.json is what `terraform output -json hosts` says, machines.json is
# written by hand.
{ lib }:
let
  hosts = lib.importJSON ./hosts.json // lib.importJSON ./machines.json;
in
lib.mapAttrs (
  name: host:
  host
  // {
    modules = [
      (./. + "/${host.platform}.nix")
      (./. + "/${host.role}.nix")
      { networking.hostName = name; }
    ]
    # One without an address is behind a NAT.
    ++ lib.optional (!host ? address) ./behind-nat.nix
    # What only this host has: its sessions, its input.
    ++ lib.optional (builtins.pathExists (./. + "/${name}.nix")) (./. + "/${name}.nix");
  }
) hosts
