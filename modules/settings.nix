# The configuration file: the options that it is made of, and the check at build time.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.mpyc-party;
  format = pkgs.formats.toml { };
  own = import ./types.nix { inherit lib; };

  # A session as the program reads it: without what is for systemd (session.nix).
  placed = import ./placed.nix { inherit lib pkgs; };
  forProgram =
    name: session:
    removeAttrs (placed session) [
      "inputCredential"
      "inputCredentialEncrypted"
      "startAt"
    ]
    // lib.optionalAttrs (session.inputCredential != null || session.inputCredentialEncrypted != null) {
      input = "/run/credentials/mpyc-session@${name}.service/input";
    };
  settings = cfg.settings // {
    sessions = lib.mapAttrs forProgram cfg.settings.sessions;
  };
  given = lib.filterAttrsRecursive (_: value: value != null) settings;

  # Named entries, each with the options of `file`.
  entries =
    file:
    types.attrsOf (
      types.submodule (
        import file {
          inherit lib;
          toml = format.type;
        }
      )
    );

  # The program that runs on the machine that builds.
  checker =
    if pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then
      cfg.package
    else
      pkgs.buildPackages.callPackage ../agent/package.nix { };

  checked =
    pkgs.runCommandLocal "mpyc-party.toml" { file = format.generate "mpyc-party.toml" given; }
      ''
        ${checker}/bin/mpyc-party --state "$TMPDIR" config check --without-files "$file"
        cp "$file" "$out"
      '';

  strings =
    value:
    # No package has one; and what is to be copied to the store, if it is there, is looked at later.
    if value ? outPath then
      [ ]
    else if builtins.isAttrs value then
      lib.concatMap strings (builtins.attrValues value)
    else if builtins.isList value then
      lib.concatMap strings value
    else
      lib.optional (builtins.isString value) value;
in
{
  imports = [
    (lib.mkAliasOptionModule
      [ "services" "mpyc-party" "sessions" ]
      [ "services" "mpyc-party" "settings" "sessions" ]
    )
  ];

  options.services.mpyc-party = {
    settings = mkOption {
      default = { };
      example = lib.literalExpression ''
        {
          network.hubs = [ "hub.example.org:4747" ];
          peers.bob.address = "203.0.113.7:4747";
        }
      '';
      description = ''
        The configuration of mpyc-party, as in its file; docs/configuration.md lists every key and
        its default. The options below have types of their own.
      '';
      type = types.submodule {
        freeformType = format.type;
        options = {
          listen.port = mkOption {
            type = types.port;
            default = 4747;
            description = "The party's one public port, for all its sessions.";
          };
          hub.listen = mkOption {
            type = types.strMatching ".+:[0-9]+";
            default = "[::]:4747";
            example = "203.0.113.7:443";
            description = "Address and port on which the hub serves, where this machine is one.";
          };
          network.hubs = own.optional (types.listOf (types.strMatching ".+:[0-9]+")) {
            example = [ "hub.example.org:4747" ];
            description = "The hubs to ask, as host:port. By default, those of the enrolment token.";
          };
          agent.metrics = own.optional (types.strMatching "/.*|(127[.].*|\\[::1]):[0-9]+") {
            example = "127.0.0.1:9747";
            description = ''
              Where the agent serves metrics in OpenMetrics text: a loopback address with its port, or
              the path of a Unix socket, for example in /run/mpyc-party. If it is not set, no
              metrics are served. If the agent cannot serve them, the journal and `systemctl status`
              say so; the agent works on and tries again at each reload.
            '';
          };
          python.interpreter = mkOption {
            type = types.nullOr types.str;
            default = if cfg.enable then "${cfg.python}/bin/python3" else null;
            defaultText = lib.literalExpression ''"''${config.services.mpyc-party.python}/bin/python3"'';
            description = "The Python that runs MPyC.";
          };
          expose = mkOption {
            default = { };
            type = entries ./expose-options.nix;
            example = lib.literalExpression ''
              {
                ssh = {
                  port = 22;
                  groups = [ "admins" ];
                };
              }
            '';
            description = ''
              Ports of this machine that some other parties may connect to with
              `mpyc-party connect PARTY PORT`, whatever network this machine is in. Each needs
              groups, parties, or both.
            '';
          };
          sessions = mkOption {
            default = { };
            type = entries ./session-options.nix;
            example = lib.literalExpression ''
              {
                demo = {
                  program = ./secret_santa.py;
                  parties = [ "alice" "bob" "carol" ];
                };
              }
            '';
            description = ''
              The sessions this party takes part in, each run as `mpyc-session@NAME.service`. Can
              also be written as {option}`services.mpyc-party.sessions`. Programs and files in the Nix
              store, such as path literals, keep the names that they have beside each other.
            '';
          };
        };
      };
    };

    configFile = mkOption {
      type = types.path;
      readOnly = true;
      internal = true;
      description = "The configuration file, checked by mpyc-party itself.";
    };
  };

  config = lib.mkIf (cfg.enable || cfg.hub.enable) {
    services.mpyc-party.configFile = checked;
    environment.etc."mpyc-party/config.toml".source = cfg.configFile;

    assertions = [
      {
        # Longer than any host's name that begins so.
        assertion = !lib.any (text: builtins.match "mpyc1[A-Za-z0-9_-]{64}.*" text != null) (
          strings cfg.settings
        );
        message = ''
          services.mpyc-party.settings holds an enrolment token, which everybody could read in the
          Nix store. Put it on the machine in the file that services.mpyc-party.tokenFile names.
        '';
      }
    ]
    ++ lib.mapAttrsToList (name: _: {
      assertion = builtins.match "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" name != null;
      message = ''
        services.mpyc-party.sessions.${name}: the name of a session is 1 to 63 lower-case letters,
        digits and inner hyphens.
      '';
    }) cfg.settings.sessions;
  };
}
