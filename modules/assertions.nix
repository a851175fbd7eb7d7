# What can be written down and would not work, with what to change: assertions where nothing would
# work at all, else warnings.
{ config, lib, ... }:
let
  cfg = config.services.mpyc-party;
  inherit (cfg) settings;
  reserved = import ./reserved-names.nix;
  given = lib.filter (value: value != null);
  here = "services.mpyc-party";

  # What `make` says of each session, or of each exposed port.
  ofEach = set: make: lib.concatLists (lib.mapAttrsToList make set);
  list = value: if value == null then [ ] else value;
  filesOf = session: [ session.program ] ++ list session.files;

  # Names of parties, by where they are written.
  partyNames =
    ofEach settings.sessions (
      name: session: [
        {
          place = "sessions.${name}.parties";
          names = session.parties;
        }
        {
          place = "sessions.${name}.keys";
          names = lib.attrNames (if session.keys == null then { } else session.keys);
        }
      ]
    )
    ++ ofEach settings.expose (
      name: port: [
        {
          place = "settings.expose.${name}.parties";
          names = list port.parties;
        }
      ]
    )
    ++ [
      {
        place = "settings.peers";
        names = lib.attrNames (settings.peers or { });
      }
    ];
  reservedNames = map (
    { place, names }:
    let
      found = lib.filter (name: lib.elem name reserved) names;
    in
    {
      assertion = found == [ ];
      message = ''
        ${here}.${place} has ${lib.concatMapStringsSep ", " (name: "«${name}»") found}, which no party
        is called: in a sentence that would mean somebody else. Choose another name, as in «alice» or
        «pi-2».
      '';
    }
  ) partyNames;

  # Files that a unit reads, by where they are written.
  read =
    ofEach settings.sessions (
      name: session:
      map (file: {
        place = "sessions.${name}";
        inherit file;
      }) (filesOf session ++ [ session.input ])
    )
    ++ [
      {
        place = "settings.python.interpreter";
        file = settings.python.interpreter;
      }
      {
        place = "tokenFile";
        file = cfg.tokenFile;
      }
    ];
  # What the units have hidden or for themselves alone (hardening.nix).
  hides = file: builtins.match "/+(home|root|run/user|tmp|var/tmp|dev|proc)(/.*)?" file != null;
  hidden = map (
    { place, file }:
    {
      assertion = !hides file;
      message = ''
        ${here}.${place} names ${file}, which the unit does not see: for it /home, /root, /tmp and the
        like are empty. Put the file elsewhere, as in /var/lib/secrets; a private input may stay where
        it is if ${here}.sessions.NAME.inputCredential names it.
      '';
    }
  ) (lib.filter (one: builtins.isString one.file) read);

  # Path literals, of which only regular files can be copied: of a directory nobody knows what of it
  # the program reads, and a link leads to what is not copied.
  kind = file: (builtins.readDir (dirOf file)).${baseNameOf file} or "missing";
  reasons = {
    directory = "a directory: name the files in it, one by one";
    symlink = "a symbolic link: name the file that it leads to";
    missing = "not there. In a flake, Nix sees a file once it is in Git: «git add» it";
  };
  literals = ofEach settings.sessions (
    name: session:
    map (file: {
      assertion = kind file == "regular";
      message = ''
        ${here}.sessions.${name} names ${toString file}, which is
        ${reasons.${kind file} or "no regular file"}.
      '';
    }) (lib.filter builtins.isPath (filesOf session))
  );

  inputs = lib.mapAttrsToList (name: session: {
    assertion =
      builtins.length (given [
        session.input
        session.inputCredential
        session.inputCredentialEncrypted
      ]) <= 1;
    message = ''
      ${here}.sessions.${name} has more than one of input, inputCredential and
      inputCredentialEncrypted: keep the one that holds this party's input.
    '';
  }) settings.sessions;

  # By default a run is refused without a sandbox.
  sandboxed = lib.attrNames (
    lib.filterAttrs (_: session: session.sandbox != "best-effort") settings.sessions
  );
  sysctl = name: config.boot.kernel.sysctl.${name} or null;
  off =
    value:
    lib.elem value [
      0
      "0"
      false
    ];
  # The first sets the second.
  forbidding =
    if !config.security.allowUserNamespaces then
      "security.allowUserNamespaces = false"
    else
      lib.findFirst (name: off (sysctl name)) null [
        "user.max_user_namespaces"
        "kernel.unprivileged_userns_clone"
      ];
  refusing = {
    assertion = forbidding == null || sandboxed == [ ];
    message = ''
      No session would run: ${toString forbidding} forbids user namespaces, of which the sandbox of
      ${here}.sessions.${lib.concatStringsSep ", " sandboxed} is made. Allow them, or set
      sandbox = "best-effort" for sessions whose program you trust with this machine.
    '';
  };

  # A fleet may declare for all hosts what only its parties do.
  idle = lib.attrNames (
    lib.filterAttrs (_: set: set != { }) { inherit (settings) sessions expose; }
  );
in
{
  config = lib.mkMerge [
    {
      warnings = lib.optional (!cfg.enable && idle != [ ]) ''
        ${here} declares ${lib.concatStringsSep " and " idle}, and this machine is no party: nothing of
        it runs here. Set ${here}.enable = true.
      '';
    }
    (lib.mkIf cfg.enable {
      assertions = reservedNames ++ hidden ++ literals ++ inputs ++ [ refusing ];
      warnings = lib.optional (settings.listen.port < 1024) ''
        ${here}.settings.listen.port is ${toString settings.listen.port}: only root may have UDP ports
        below 1024. QUIC takes any other port, which ${here}.openFirewall does not let in, and this
        party has fewer direct paths. Choose a port from 1024 on, as in 4747.
      '';
    })
  ];
}
