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

  # User data holds the private key of the SSH server until the droplet is gone: it is for root alone.
  systemd.services.digitalocean-metadata.serviceConfig.RuntimeDirectoryMode = "0700";
  networking.firewall = lib.mkIf (!config.networking.nftables.enable) {
    extraCommands = ''
      iptables -D OUTPUT -d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT 2>/dev/null || true
      iptables -A OUTPUT -d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT
    '';
    extraStopCommands = ''
      iptables -D OUTPUT -d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT 2>/dev/null || true
    '';
  };
  networking.nftables.tables = lib.mkIf config.networking.nftables.enable {
    metadata = {
      family = "ip";
      content = ''
        chain output {
          type filter hook output priority filter; policy accept;
          ip daddr 169.254.169.254 meta skuid != 0 reject
        }
      '';
    };
  };

  systemd.services.mpyc-party-host-key = {
    description = "Take the SSH host key from the user data of this droplet";
    wantedBy = [ "multi-user.target" ];
    requires = [ "digitalocean-metadata.service" ];
    after = [ "digitalocean-metadata.service" ];
    # The latter makes keys that are missing.
    before = [
      "sshd.service"
      "sshd-keygen.service"
    ];
    unitConfig.ConditionPathExists = "!/etc/ssh/ssh_host_ed25519_key";
    path = [
      pkgs.coreutils
      pkgs.gnused
      pkgs.jq
      pkgs.openssh
    ];
    script = ''
      umask 0077
      key=/etc/ssh/ssh_host_ed25519_key
      jq -r '.user_data // ""' /run/do-metadata/v1.json |
        sed -n 's/^ *//; /^-----BEGIN OPENSSH PRIVATE KEY/,/^-----END OPENSSH PRIVATE KEY/p' > $key.new
      if [ -s $key.new ]; then
        ssh-keygen -y -f $key.new > $key.pub
        mv $key.new $key
      else
        rm $key.new
      fi
    '';
    serviceConfig = (import ../modules/hardening.nix).common // {
      Type = "oneshot";
      PrivateNetwork = true;
      PrivateUsers = false;
      ReadWritePaths = [ "/etc/ssh" ];
    };
  };

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
