# A stand-in for a NixOS system: just the options that the module defines, and packages that are
# nothing but a name. `system module` is its configuration.
let
  lib = import ./lib.nix;
  inherit (lib) mkOption types;

  free = mkOption {
    type = types.anything;
    default = { };
  };
  list = mkOption {
    type = types.listOf types.anything;
    default = [ ];
  };

  nixos = {
    options = {
      assertions = list;
      warnings = list;
      boot.kernel.sysctl = free;
      environment.etc = free;
      environment.systemPackages = list;
      networking.firewall.allowedTCPPorts = list;
      networking.firewall.allowedUDPPorts = list;
      nix = free;
      security.allowUserNamespaces = mkOption {
        type = types.bool;
        default = true;
      };
      security.polkit = free;
      services.dbus.packages = list;
      systemd.paths = free;
      systemd.services = free;
      systemd.sockets = free;
      systemd.timers = free;
      systemd.tmpfiles = free;
      users = free;
    };
    config.users.groups.wheel = { };
  };

  fake =
    name: attributes:
    { outPath = "/nix/store/${builtins.hashString "md5" name}-${name}"; } // attributes;
  platform.canExecute = _: true;
  pkgs = {
    callPackage = file: _: fake (builtins.baseNameOf (toString file)) { };
    formats.toml = _: {
      type = types.anything;
      generate = name: value: fake name { inherit value; };
    };
    runCommandLocal =
      name: environment: _:
      fake name environment;
    linkFarm = name: entries: fake name { inherit entries; };
    writeTextDir = name: text: fake (builtins.baseNameOf name) { inherit name text; };
    writeShellScriptBin =
      name: text:
      fake name {
        inherit name;
        text = "#!${fake "bash" { }}/bin/bash\n${text}\n";
      };
    stdenv.buildPlatform = platform;
    stdenv.hostPlatform = platform;
    coreutils = fake "coreutils" { };
    jq = fake "jq" { };
    util-linux = fake "util-linux" { };
  };

  evaluate = module: lib.evaluate "" [ nixos ../../../modules module ] { inherit pkgs; };
in
{
  system = module: (evaluate module).config;
  options = (builtins.elemAt (evaluate { }).trees 0);
  inherit evaluate lib;
}
