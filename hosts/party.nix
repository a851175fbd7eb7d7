# A party. What it is called and which network it is in, its enrolment token says.
{
  imports = [ ./common.nix ];

  services.mpyc-party = {
    enable = true;
    openFirewall = true;
  };
}
