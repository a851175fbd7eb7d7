# What every machine of the fleet has in common, whatever it runs on and whatever its role.
{ lib, ... }:
let
  lines = lib.splitString "\n" (builtins.readFile ./authorized_keys);
in
{
  imports = [ ../modules ];

  users.users.root.openssh.authorizedKeys.keys = lib.filter (
    line: line != "" && !lib.hasPrefix "#" line
  ) lines;

  services.openssh = {
    enable = true;
    settings = {
      KbdInteractiveAuthentication = false;
      PasswordAuthentication = false;
      PermitRootLogin = "prohibit-password";
    };
  };

  # Certificates are checked against the clock.
  services.timesyncd.enable = true;

  nix.settings.experimental-features = [
    "nix-command"
    "flakes"
  ];
  nix.gc = {
    automatic = true;
    options = "--delete-older-than 14d";
  };
  documentation.nixos.enable = false;

  system.stateVersion = "26.05";
}
