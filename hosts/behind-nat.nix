# A machine that nobody reaches from outside: parties of the group «admins» get to its SSH server
# through mpyc-party connect.
{
  services.mpyc-party.settings.expose.ssh = {
    port = 22;
    groups = [ "admins" ];
  };
}
