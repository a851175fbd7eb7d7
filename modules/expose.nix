# mpyc-party-expose: some other parties reach ports of this machine, wherever it is. Only where
# settings.expose says which, and who.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.mpyc-party;
  hardening = import ./hardening.nix;
in
{
  config = lib.mkIf (cfg.enable && cfg.settings.expose != { }) {
    systemd.services.mpyc-party-expose = {
      description = "Ports of this machine for some other MPyC parties";
      documentation = [ "man:mpyc-party-expose(1)" ];
      # When the agent is up, this machine is enrolled.
      wantedBy = [
        "multi-user.target"
        "mpyc-party.service"
      ];
      wants = [ "network-online.target" ];
      after = [
        "mpyc-party.service"
        "network-online.target"
        "time-sync.target"
      ];
      unitConfig.ConditionPathExists = "/var/lib/mpyc-party/identity/certificate.pem";
      # Whoever rolls out a change may have come in here: what is connected stays connected.
      reloadIfChanged = true;
      restartTriggers = [ cfg.configFile ];
      serviceConfig =
        hardening.common
        // hardening.announce
        // {
          Type = "notify";
          ExecStart = "${cfg.package}/bin/mpyc-party --config /etc/mpyc-party/config.toml expose";
          ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
          User = "mpyc-party";
          Group = "mpyc-party";
          StateDirectory = "mpyc-party";
          StateDirectoryMode = "0700";
          Restart = "always";
          # Slow enough that systemd never gives up. A wrong configuration does not get better.
          RestartSec = "3s";
          RestartPreventExitStatus = 2;
          WatchdogSec = "30s";
        };
    };
  };
}
