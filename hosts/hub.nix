# The hub of a small network, with its authority. Which network, hosts.json says.
{
  imports = [ ./common.nix ];

  services.mpyc-party = {
    openFirewall = true;
    hub.enable = true;
    authority.enable = true;
  };
}
