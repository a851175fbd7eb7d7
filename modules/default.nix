# services.mpyc-party: a party of an MPyC network, its sessions, and the hub and authority roles.
#
# Needs no overlay and no other module. Defaults of the program live in the program: what is not
# set here is not written into its configuration.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.mpyc-party;
in
{
  imports = [
    ./settings.nix
    ./assertions.nix
    ./token.nix
    ./agent.nix
    ./session.nix
    ./expose.nix
    ./hub.nix
    ./access.nix
  ];

  options.services.mpyc-party = {
    enable = lib.mkEnableOption "this machine as a party: the agent and its sessions";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ../agent/package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ../agent/package.nix { }";
      description = "The mpyc-party that all units run.";
    };

    python = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ../agent/python.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ../agent/python.nix { }";
      example = lib.literalExpression ''
        pkgs.callPackage ../agent/python.nix { extraPackages = ps: [ ps.pandas ]; }
      '';
      description = "The Python environment that runs MPyC, with what the programs import.";
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = ''
        Whether to let others in: TCP and UDP of the party's port and, where this machine is a hub,
        of the hub's. Without it a party still reaches others, by hole punching or through the hub.

        To be found in the local network without a hub, a party needs multicast DNS as well:
        {option}`networking.firewall.allowedUDPPorts` with 5353. Do not open that to the Internet.
      '';
    };
  };

  config = lib.mkIf (cfg.enable || cfg.hub.enable) {
    environment.systemPackages = [ cfg.package ];
  };
}
