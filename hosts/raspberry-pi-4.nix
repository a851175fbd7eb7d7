# A Raspberry Pi 4, started from the card that images/raspberry-pi-4.nix makes. The enrolment token is
# a file on the card's firmware partition, which every computer can write.
{
  config,
  lib,
  modulesPath,
  ...
}:
{
  imports = [
    "${modulesPath}/installer/sd-card/sd-image-aarch64.nix"
    ../modules
  ];

  services.mpyc-party.tokenFile = lib.mkDefault "/boot/firmware/mpyc-party.token";
  fileSystems."/boot/firmware".options = lib.mkForce [
    "nofail"
    "umask=0077"
  ];

  # The mainline kernel, and no file system that it lacks.
  boot.supportedFilesystems.zfs = lib.mkForce false;

  # There is no clock on the board, and no certificate is valid in 1970. Where nobody tells the time,
  # as in a network that lets no NTP out, the units start all the same: the agent goes on waiting and
  # says so, and the machine can be asked why.
  systemd.additionalUpstreamSystemUnits = [ "systemd-time-wait-sync.service" ];
  systemd.services.systemd-time-wait-sync = {
    wantedBy = [ "sysinit.target" ];
    serviceConfig.TimeoutStartSec = "5min";
  };

  networking.useDHCP = lib.mkDefault true;

  warnings = lib.optional (config.users.users.root.openssh.authorizedKeys.keys == [ ]) ''
    Nobody can log in to ${config.networking.hostName}, a Raspberry Pi: hosts/authorized_keys is empty.
  '';
}
