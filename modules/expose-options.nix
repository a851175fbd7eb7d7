# One exposed port: [expose.NAME] of the configuration.
{ lib, toml }:
let
  inherit (lib) mkOption types;
  own = import ./types.nix { inherit lib; };
in
{
  freeformType = toml;

  options = {
    port = mkOption {
      type = types.port;
      example = 22;
      description = "The port that is asked for, and to which it leads.";
    };
    address = own.optional types.str {
      example = "192.168.1.2";
      description = "Where it leads, if not to this machine itself.";
    };
    groups = own.optional (types.listOf own.name) {
      example = [ "admins" ];
      description = "Parties whose certificate lists one of these groups may connect.";
    };
    parties = own.optional (types.listOf own.name) {
      example = [ "operator" ];
      description = "These parties may connect.";
    };
  };
}
