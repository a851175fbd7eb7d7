# What a system makes of each case, as plain data. `system module` is a configuration, be it of NixOS
# or of the stand-in.
{ system }:
let
  cases = import ./cases.nix;
  inherit (builtins)
    deepSeq
    filter
    isAttrs
    isList
    mapAttrs
    tryEval
    ;

  # Packages as the paths they have, and no functions.
  plain =
    value:
    if isAttrs value then
      if value ? outPath then "${value}" else mapAttrs (_: plain) value
    else if isList value then
      map plain value
    else
      value;

  failed = config: map (one: one.message) (filter (one: !one.assertion) config.assertions);
  own =
    names: set:
    builtins.listToAttrs (
      builtins.concatMap (
        name:
        if set ? ${name} then
          [
            {
              inherit name;
              value = set.${name};
            }
          ]
        else
          [ ]
      ) names
    );
  units = [
    "mpyc-party"
    "mpyc-party-expose"
    "mpyc-party-runners"
    "mpyc-party-token"
    "mpyc-party-hub"
    "mpyc-party-authority"
    "mpyc-session@"
  ];
  instances =
    set: filter (name: builtins.match "mpyc-session@.+" name != null) (builtins.attrNames set);
  unit = mapAttrs (
    _: attributes:
    plain (
      own [
        "after"
        "before"
        "description"
        "documentation"
        "environment"
        "listenStreams"
        "onSuccess"
        "overrideStrategy"
        "pathConfig"
        "reloadIfChanged"
        "requiredBy"
        "requires"
        "restartIfChanged"
        "restartTriggers"
        "script"
        "serviceConfig"
        "socketConfig"
        "stopIfChanged"
        "timerConfig"
        "unitConfig"
        "wantedBy"
        "wants"
      ] attributes
    )
  );

  possible =
    module:
    let
      cfg = (system module).services.mpyc-party;
    in
    (tryEval (
      deepSeq (plain [
        cfg.settings
        cfg.tokenFile
      ]) true
    )).success;

  describe =
    module:
    let
      config = system module;
      cfg = config.services.mpyc-party;
      active = cfg.enable || cfg.hub.enable;
    in
    {
      failed = failed config;
      warnings = config.warnings or [ ];
      settings = if active then plain cfg.configFile.file.value else null;
      services = unit (own (units ++ instances config.systemd.services) config.systemd.services);
      sockets = unit (own units config.systemd.sockets);
      timers = unit (own (instances config.systemd.timers) config.systemd.timers);
      paths = unit (own units config.systemd.paths);
      tmpfiles = mapAttrs (
        _:
        mapAttrs (
          _:
          own [
            "group"
            "mode"
            "user"
          ]
        )
      ) (config.systemd.tmpfiles.settings.mpyc-party or { });
      tcp = config.networking.firewall.allowedTCPPorts;
      udp = config.networking.firewall.allowedUDPPorts;
      users = builtins.attrNames (own [ "mpyc-party" "mpyc-party-hub" ] config.users.users or { });
      polkit = config.security.polkit.extraConfig or "";
      commands = map (package: package.text) (
        filter (package: package.name or "" == "mpyc-party-as-hub") config.environment.systemPackages
      );
      bus = map (package: package.text) (filter (package: package ? text) config.services.dbus.packages);
    };
in
{
  accepted = mapAttrs (_: describe) cases.accepted;
  asserted = mapAttrs (_: case: {
    inherit (case) words;
    failed = failed (system case.module);
  }) cases.asserted;
  warned = mapAttrs (_: case: {
    inherit (case) words;
    inherit (system case.module) warnings;
    failed = failed (system case.module);
  }) cases.warned;
  # Whether anything comes of it: it must not.
  refused = mapAttrs (_: possible) cases.refused;
  # And that the way of asking is good.
  possible = possible cases.accepted.everything;
}
