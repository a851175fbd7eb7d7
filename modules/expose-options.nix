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
      description = "The port that others ask for, and the one it leads to.";
    };
    address = own.optional types.str {
      example = "192.168.1.2";
      description = "The address to connect to, if it is not this machine.";
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
