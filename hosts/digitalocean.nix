# A DigitalOcean droplet. The enrolment token may come as its user data.
{
  lib,
  modulesPath,
  pkgs,
  config,
  ...
}:
{
  imports = [
    "${modulesPath}/virtualisation/digital-ocean-config.nix"
    ../modules
  ];

  # User data is a token here, and never a configuration to be built.
  virtualisation.digitalOcean.rebuildFromUserData = false;
  # No telemetry.
  services.do-agent.enable = false;

  systemd.services.mpyc-party-user-data = lib.mkIf config.services.mpyc-party.enable {
    description = "Take the enrolment token from the user data of this droplet";
    wantedBy = [ "multi-user.target" ];
    requires = [ "digitalocean-metadata.service" ];
    after = [ "digitalocean-metadata.service" ];
    before = [ "mpyc-party-token.service" ];
    unitConfig.ConditionPathExists = "!/var/lib/mpyc-party/identity/certificate.pem";
    environment.TOKEN_FILE = config.services.mpyc-party.tokenFile;
    path = [
      pkgs.coreutils
      pkgs.jq
    ];
    script = ''
      umask 0077
      if token=$(jq -er '.user_data // "" | select(startswith("mpyc1"))' /run/do-metadata/v1.json); then
        printf '%s\n' "$token" > "$TOKEN_FILE.new"
        mv "$TOKEN_FILE.new" "$TOKEN_FILE"
      fi
    '';
    serviceConfig = (import ../modules/hardening.nix).common // {
      Type = "oneshot";
      PrivateNetwork = true;
      PrivateUsers = false;
      ReadWritePaths = [ (dirOf config.services.mpyc-party.tokenFile) ];
    };
  };
}
