# The agent: keeps this party present, accepts for all sessions on one port, starts what peers
# propose. It is never in the data path, so restarting it disturbs no run.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.mpyc-party;
  hardening = import ./hardening.nix;

  # Until this machine is enrolled there is nothing to serve. A token's arrival starts the agent.
  unitConfig.ConditionPathExists = [
    "|/var/lib/mpyc-party/identity/certificate.pem"
    "|/var/lib/mpyc-party/token"
  ];
  sockets = [
    "mpyc-party.socket"
    "mpyc-party-runners.socket"
  ];
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.settings.listen.port != 0;
        message = ''
          services.mpyc-party.settings.listen.port is 0: systemd listens for the agent and needs a
          port that stays.
        '';
      }
    ];

    systemd.sockets.mpyc-party = {
      description = "Public port of this MPyC party";
      wantedBy = [ "sockets.target" ];
      inherit unitConfig;
      listenStreams = [ (toString cfg.settings.listen.port) ];
      socketConfig = {
        Backlog = 512;
        BindIPv6Only = "both";
        FileDescriptorName = "parties";
        NoDelay = true;
        Service = "mpyc-party.service";
      };
    };

    systemd.sockets.mpyc-party-runners = {
      description = "Where the runners of MPyC sessions register with the agent";
      wantedBy = [ "sockets.target" ];
      inherit unitConfig;
      socketConfig = {
        ListenSequentialPacket = "/run/mpyc-party/agent.sock";
        DirectoryMode = "0755";
        FileDescriptorName = "runners";
        Service = "mpyc-party.service";
        SocketGroup = "mpyc-party";
        SocketMode = "0600";
        SocketUser = "mpyc-party";
      };
    };

    systemd.services.mpyc-party = {
      description = "MPyC party";
      documentation = [ "man:mpyc-party-agent(1)" ];
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      requires = sockets ++ [ "dbus.socket" ];
      after = sockets ++ [
        "dbus.socket"
        "mpyc-party-token.service"
        "network-online.target"
        "time-sync.target"
      ];
      inherit unitConfig;
      reloadTriggers = [ cfg.configFile ];
      # What a reload does not take up.
      restartTriggers = [ (builtins.toJSON { inherit (cfg.settings) agent listen network; }) ];
      stopIfChanged = false;
      serviceConfig =
        hardening.common
        // hardening.announce
        // {
          Type = "notify";
          ExecStart = "${cfg.package}/bin/mpyc-party --config /etc/mpyc-party/config.toml agent";
          ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
          User = "mpyc-party";
          Group = "mpyc-party";
          Sockets = sockets;
          StateDirectory = "mpyc-party";
          StateDirectoryMode = "0700";
          # Where the runners' socket is, too, which outlives the agent.
          RuntimeDirectory = "mpyc-party";
          RuntimeDirectoryPreserve = true;
          Restart = "always";
          # Slow enough that systemd never gives up. A wrong configuration does not get better: it is
          # not tried again by itself. Who comes to a socket does start it, five times in ten seconds
          # at most; then systemd shuts the sockets, so that others find nobody here at once instead
          # of waiting for an answer, and the start that follows the mending opens them with it:
          # nothing else of this party's takes the port meanwhile.
          RestartSec = "3s";
          RestartPreventExitStatus = 2;
          # As long as a hub or the time of day may take to be there after a power cut.
          TimeoutStartSec = "3min";
          WatchdogSec = "30s";
        };
    };
  };
}
