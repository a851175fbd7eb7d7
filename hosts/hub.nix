# The hub of a small network, with its authority.
{ lib, ... }:
{
  imports = [ ./common.nix ];

  services.mpyc-party = {
    openFirewall = true;
    hub.enable = true;
    authority.enable = true;
    authority.network = lib.mkDefault "example";
  };
}
