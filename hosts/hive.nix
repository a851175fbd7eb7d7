# The hive as Colmena 0.5 reads it, evaluated (its schema «v0.5»): what `colmena.lib.makeHive` would
# make, without Colmena as an input of the flake. Keys that are uploaded are not supported here;
# enrolment tokens do not need them.
{ lib, hive }:
let
  inherit (lib) mkOption types;
  raw = removeAttrs hive [ "meta" ];

  deploymentOptions =
    { name, ... }:
    {
      options.deployment =
        lib.mapAttrs (_: option: mkOption (option // { description = "As in Colmena's manual."; }))
          {
            targetHost = {
              type = types.nullOr types.str;
              default = name;
            };
            targetUser = {
              type = types.nullOr types.str;
              default = "root";
            };
            targetPort = {
              type = types.nullOr types.port;
              default = null;
            };
            allowLocalDeployment = {
              type = types.bool;
              default = false;
            };
            buildOnTarget = {
              type = types.bool;
              default = false;
            };
            tags = {
              type = types.listOf types.str;
              default = [ ];
            };
            keys = {
              type = types.enum [ { } ];
              default = { };
            };
            replaceUnknownProfiles = {
              type = types.bool;
              default = true;
            };
            privilegeEscalationCommand = {
              type = types.listOf types.str;
              default = [
                "sudo"
                "-H"
                "--"
              ];
            };
            sshOptions = {
              type = types.listOf types.str;
              default = [ ];
            };
          };
    };

  nodes = lib.mapAttrs (
    name: node:
    lib.nixosSystem {
      specialArgs = { inherit name nodes; };
      modules = [
        deploymentOptions
        node
        { nixpkgs.pkgs = lib.mkDefault (hive.meta.nodeNixpkgs.${name} or hive.meta.nixpkgs); }
      ];
    }
  ) raw;
  toplevel = lib.mapAttrs (_: node: node.config.system.build.toplevel) nodes;
  select = names: lib.filterAttrs (name: _: lib.elem name names);
in
rec {
  __schema = "v0.5";
  inherit nodes toplevel;
  deploymentConfig = lib.mapAttrs (_: node: node.config.deployment) nodes;
  deploymentConfigSelected = names: select names deploymentConfig;
  evalSelected = names: select names toplevel;
  evalSelectedDrvPaths = names: lib.mapAttrs (_: system: system.drvPath) (evalSelected names);
  metaConfig = {
    inherit (hive.meta) name description;
    allowApplyAll = true;
    machinesFile = null;
  };
  introspect =
    ask:
    ask {
      inherit lib nodes;
      pkgs = hive.meta.nixpkgs;
    };
}
