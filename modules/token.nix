# Brings the enrolment token from where it was left into the state directory, from where the agent
# takes and deletes it. Only this unit, which has no network, may write where a token is left.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.mpyc-party;
  own = import ./types.nix { inherit lib; };
  hardening = import ./hardening.nix;
in
{
  options.services.mpyc-party.tokenFile = lib.mkOption {
    type = own.secretFile;
    default = "/run/mpyc-party.token";
    example = "/boot/firmware/mpyc-party.token";
    description = ''
      Where to put the token of `mpyc-party ca token` for this machine to enrol, at its first boot or
      later. The machine removes the file at once, even if it is already enrolled, and deletes the
      token after use. A symbolic link, and a file below `/run/secrets` (sops-nix) or `/run/agenix`, is
      read and left. A system credential named `mpyc-party.token` also works.
    '';
  };

  config = lib.mkIf cfg.enable {
    # A token that comes while the machine runs; write it beside and rename it.
    systemd.paths.mpyc-party-token = {
      description = "Arrival of an enrolment token";
      wantedBy = [ "multi-user.target" ];
      pathConfig.PathChanged = cfg.tokenFile;
    };

    systemd.services.mpyc-party-token = {
      description = "Take the enrolment token of this MPyC party";
      wantedBy = [ "multi-user.target" ];
      before = [ "mpyc-party.service" ];
      onSuccess = [ "mpyc-party.service" ];
      unitConfig.RequiresMountsFor = [
        "/var/lib/mpyc-party"
        (dirOf cfg.tokenFile)
      ];
      environment.TOKEN_FILE = cfg.tokenFile;
      serviceConfig = hardening.common // {
        Type = "oneshot";
        # As root, in a directory of the user mpyc-party's: the program follows no link there.
        ExecStart = lib.concatStringsSep " " [
          "${cfg.package}/bin/mpyc-party --config /etc/mpyc-party/config.toml --state /var/lib/mpyc-party"
          "agent --token-file \${TOKEN_FILE} --take-token /var/lib/mpyc-party/token"
        ];
        ImportCredential = "mpyc-party.token";
        CapabilityBoundingSet = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER";
        PrivateNetwork = true;
        PrivateUsers = false;
        ReadWritePaths = [
          "-${dirOf cfg.tokenFile}"
          "/var/lib/mpyc-party"
        ];
        SystemCallFilter = [ "@system-service" ];
      };
    };

    systemd.tmpfiles.settings.mpyc-party."/var/lib/mpyc-party".d = {
      user = "mpyc-party";
      group = "mpyc-party";
      mode = "0700";
    };
  };
}
