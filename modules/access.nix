# Who may do what: accounts, the firewall, polkit and the system bus.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.mpyc-party;
  ports =
    lib.optional cfg.enable cfg.settings.listen.port ++ lib.optional cfg.hub.enable cfg.hub.port;
  account = name: {
    users.users.${name} = {
      isSystemUser = true;
      group = name;
      home = "/var/lib/${name}";
      description = "Runs ${name}";
    };
    users.groups.${name} = { };
  };
in
{
  options.services.mpyc-party.group = lib.mkOption {
    type = lib.types.str;
    default = "mpyc-party";
    example = "wheel";
    description = ''
      Members of this group may start and stop sessions and ask the agent over D-Bus, as
      `mpyc-party status` does.
    '';
  };

  config = lib.mkMerge [
    (lib.mkIf cfg.openFirewall {
      networking.firewall.allowedTCPPorts = ports;
      networking.firewall.allowedUDPPorts = ports;
    })

    (lib.mkIf cfg.hub.enable (account "mpyc-party-hub"))

    (lib.mkIf cfg.enable (account "mpyc-party"))

    (lib.mkIf cfg.enable {
      assertions = [
        {
          assertion = config.users.groups ? ${cfg.group};
          message = ''
            services.mpyc-party.group is «${cfg.group}», and there is no such group: declare it as
            users.groups.${cfg.group}.
          '';
        }
      ];

      security.polkit = {
        enable = true;
        # The agent starts what a peer proposed; the group starts what it likes. Both can only name
        # sessions: what is declared decides what runs.
        extraConfig = ''
          polkit.addRule(function (action, subject) {
            var asked = action.lookup("unit") + " " + action.lookup("verb");
            if (action.id == "org.freedesktop.systemd1.manage-units" &&
                /^mpyc-session@[a-z0-9-]+\.service (start|stop)$/.test(asked) &&
                (subject.user == "mpyc-party" || subject.isInGroup("${cfg.group}"))) {
              return polkit.Result.YES;
            }
          });
        '';
      };

      services.dbus.packages = [
        (pkgs.writeTextDir "share/dbus-1/system.d/org.mpyc.Party1.conf" ''
          <!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
            "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
          <busconfig>
            <policy context="default">
              <deny own="org.mpyc.Party1"/>
              <deny send_destination="org.mpyc.Party1"/>
              <!-- Signals go to all who listen: what runs here, and with whom, is not for all. -->
              <deny receive_sender="org.mpyc.Party1"/>
            </policy>
            <policy group="${cfg.group}">
              <allow send_destination="org.mpyc.Party1"/>
              <allow receive_sender="org.mpyc.Party1"/>
            </policy>
            <policy user="root">
              <allow send_destination="org.mpyc.Party1"/>
              <allow receive_sender="org.mpyc.Party1"/>
            </policy>
            <policy user="mpyc-party">
              <allow own="org.mpyc.Party1"/>
              <allow send_destination="org.mpyc.Party1"/>
              <allow receive_sender="org.mpyc.Party1"/>
            </policy>
          </busconfig>
        '')
      ];
    })
  ];
}
