# mpyc-session@NAME: one run of a declared session. The runner puts the program into a sandbox of
# namespaces of its own, which this unit's sandbox has to leave room for.
{ config, lib, ... }:
let
  cfg = config.services.mpyc-party;
  hardening = import ./hardening.nix;

  credential = key: file: lib.optionalAttrs (file != null) { ${key} = "input:${file}"; };
  # What one session has beside the template: a drop-in, into which settings of the machine's own for
  # this instance go as well. A unit of that name would take the template's place, and run nothing.
  instance = name: session: {
    name = "mpyc-session@${name}";
    value = {
      overrideStrategy = "asDropin";
      restartIfChanged = false;
      stopIfChanged = false;
      serviceConfig =
        credential "LoadCredential" session.inputCredential
        // credential "LoadCredentialEncrypted" session.inputCredentialEncrypted;
    };
  };
  timer = name: session: {
    name = "mpyc-session@${name}";
    value = {
      description = "Time of MPyC session ${name}";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = session.startAt;
        Persistent = true;
      };
    };
  };
  timed = lib.filterAttrs (_: session: session.startAt != null) cfg.settings.sessions;
in
{
  config = lib.mkIf cfg.enable {
    systemd.timers = lib.mapAttrs' timer timed;

    systemd.services = lib.mapAttrs' instance cfg.settings.sessions // {
      "mpyc-session@" = {
        description = "MPyC session %i";
        documentation = [ "man:mpyc-party-session-run(1)" ];
        wants = [ "network-online.target" ];
        # Not after the agent itself: it is ready only when a hub knows it, and a run may do without.
        after = [
          "mpyc-party.socket"
          "mpyc-party-runners.socket"
          "network-online.target"
          "time-sync.target"
        ];
        # A run goes on with what it began with.
        restartIfChanged = false;
        stopIfChanged = false;
        serviceConfig =
          hardening.common
          // hardening.announce
          // hardening.sandbox
          // {
            Type = "exec";
            ExecStart = "${cfg.package}/bin/mpyc-party --config /etc/mpyc-party/config.toml session run %i";
            User = "mpyc-party";
            Group = "mpyc-party";
            StateDirectory = "mpyc-party";
            StateDirectoryMode = "0700";
            CacheDirectory = "mpyc-party";
            CacheDirectoryMode = "0700";
            # The runner hears of the wish to stop, tells the others, and ends the program itself.
            KillMode = "mixed";
            TimeoutStopSec = "20s";
          };
      };
    };
  };
}
