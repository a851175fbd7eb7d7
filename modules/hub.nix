# The hub: lighthouse and relay. Beside an authority it also enrols parties and renews their
# certificates; the authority's key is then on this machine, and only where that was asked for.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.mpyc-party;
  own = import ./types.nix { inherit lib; };
  hardening = import ./hardening.nix;

  port = lib.toInt (lib.last (lib.splitString ":" cfg.settings.hub.listen));
  command = "${cfg.package}/bin/mpyc-party --config /etc/mpyc-party/config.toml";
  account = {
    User = "mpyc-party-hub";
    Group = "mpyc-party-hub";
    StateDirectory = "mpyc-party-hub";
    StateDirectoryMode = "0700";
  };

  # mpyc-party as the hub's account, with the hub's files: for its administrator.
  administer = pkgs.writeShellScriptBin "mpyc-party-as-hub" ''
    exec ${pkgs.util-linux}/bin/setpriv \
      --reuid=mpyc-party-hub --regid=mpyc-party-hub --init-groups \
      ${command} --state /var/lib/mpyc-party-hub "$@"
  '';
in
{
  options.services.mpyc-party = {
    hub = {
      enable = lib.mkEnableOption ''
        this machine as a hub: lighthouse and relay of a network. Without an authority beside it, root
        enrols it once: `mpyc-party-as-hub enroll`, with a token of `mpyc-party ca token --for-hub 2`, and
        `systemctl start mpyc-party-hub`'';
      port = mkOption {
        type = types.port;
        readOnly = true;
        internal = true;
        default = port;
        description = "The port in {option}`services.mpyc-party.settings.hub.listen`.";
      };
    };

    authority = {
      enable = lib.mkEnableOption ''
        the network's authority beside the hub. It is made at the first start, and its key stays in
        /var/lib/mpyc-party-hub/ca. Root administers it, for example with
        `mpyc-party-as-hub ca token --name alice --hub hub.example.org:4747`'';
      network = mkOption {
        type = own.name;
        example = "example";
        description = "The name of the network. It is fixed at the first start.";
      };
      pool = own.optional types.str {
        example = "fd12:3456:789a::/64";
        description = "Overlay addresses to give out. They are fixed at the first start.";
      };
    };
  };

  config = lib.mkIf (cfg.hub.enable || cfg.authority.enable) {
    assertions = [
      {
        assertion = cfg.authority.enable -> cfg.hub.enable;
        message = ''
          services.mpyc-party.authority.enable needs services.mpyc-party.hub.enable: parties reach the
          authority through the hub beside it.
        '';
      }
      {
        assertion = port > 0;
        message = ''
          services.mpyc-party.settings.hub.listen is "${cfg.settings.hub.listen}": parties have to know
          the port of a hub. Name one, as in "[::]:4747".
        '';
      }
      {
        assertion = cfg.enable && cfg.hub.enable -> port != cfg.settings.listen.port;
        message = ''
          The hub and the party of this machine both want port ${toString port}: set
          services.mpyc-party.settings.hub.listen or services.mpyc-party.settings.listen.port.
        '';
      }
    ];

    environment.systemPackages = [ administer ];

    # There before the first start, for a hub that is to be enrolled.
    systemd.tmpfiles.settings.mpyc-party."/var/lib/mpyc-party-hub".d = {
      user = "mpyc-party-hub";
      group = "mpyc-party-hub";
      mode = "0700";
    };

    systemd.services.mpyc-party-authority = lib.mkIf cfg.authority.enable {
      description = "Authority of the MPyC network ${cfg.authority.network}";
      documentation = [ "man:mpyc-party-ca-init(1)" ];
      requiredBy = [ "mpyc-party-hub.service" ];
      before = [ "mpyc-party-hub.service" ];
      after = [ "time-sync.target" ];
      unitConfig.ConditionPathExists = "!/var/lib/mpyc-party-hub/ca";
      serviceConfig =
        hardening.common
        // account
        // {
          Type = "oneshot";
          ExecStart = lib.concatStringsSep " " (
            [ "${command} ca init --network ${cfg.authority.network}" ]
            ++ lib.optional (cfg.authority.pool != null) "--pool ${cfg.authority.pool}"
          );
          PrivateNetwork = true;
        };
    };

    systemd.services.mpyc-party-hub = {
      description = "Hub of an MPyC network";
      documentation = [ "man:mpyc-party-hub(1)" ];
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "time-sync.target"
      ];
      # What a hub reads: other changes, such as a party's sessions beside it, do not concern it.
      restartTriggers = [ (builtins.toJSON { inherit (cfg.settings) hub network; }) ];
      # Away for a moment, and not for as long as a switch takes.
      stopIfChanged = false;
      # Without an authority beside it, a hub is enrolled by hand first (mpyc-party-as-hub enroll).
      unitConfig.ConditionPathExists = [
        "|/var/lib/mpyc-party-hub/ca"
        "|/var/lib/mpyc-party-hub/identity/certificate.pem"
      ];
      serviceConfig =
        hardening.common
        // hardening.network
        // account
        // {
          Type = "notify";
          ExecStart = "${command} hub";
          Restart = "always";
          RestartSec = "3s";
          RestartPreventExitStatus = 2;
          WatchdogSec = "30s";
        }
        // lib.optionalAttrs (port < 1024) {
          AmbientCapabilities = "CAP_NET_BIND_SERVICE";
          CapabilityBoundingSet = "CAP_NET_BIND_SERVICE";
          PrivateUsers = false;
        };
    };
  };
}
