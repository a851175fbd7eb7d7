# The fleet, by host name: hosts.json is what `terraform output -json hosts` says, machines.json is
# written by hand.
{ lib }:
let
  read =
    name:
    let
      file = ./. + "/${name}";
      text = builtins.readFile file;
    in
    if !builtins.pathExists file then
      throw "hosts/${name} is missing: write {} into it where there are none, and «git add» it."
    else if builtins.match "[[:space:]]*" text != null then
      throw "hosts/${name} is empty, as after a command that failed: {} stands for no hosts."
    else
      builtins.addErrorContext "while reading hosts/${name}" (builtins.fromJSON text);

  profile =
    host: key:
    builtins.isString (host.${key} or null) && builtins.pathExists (./. + "/${host.${key}}.nix");
  reserved = import ../modules/reserved-names.nix;
  complete =
    name: host:
    if builtins.elem name reserved then
      throw ''
        The host «${name}» of hosts/*.json cannot be a party: in a sentence that name would mean
        somebody else. Give it another name, as in «alice» or «pi-2».''
    else if profile host "platform" && profile host "role" && host ? system then
      host
    else
      throw ''
        The host «${name}» of hosts/*.json needs a platform and a role, for each of which there is a
        file in hosts/, and a system. As in
          "party-kitchen": { "platform": "raspberry-pi-4", "role": "party", "system": "aarch64-linux" }'';
in
lib.mapAttrs (
  name: given:
  let
    host = complete name given;
  in
  host
  // {
    modules = [
      (./. + "/${host.platform}.nix")
      (./. + "/${host.role}.nix")
      { networking.hostName = name; }
    ]
    # The network of the hub's authority.
    ++ lib.optional (host ? network) { services.mpyc-party.authority.network = host.network; }
    # One without an address is behind a NAT.
    ++ lib.optional (!host ? address) ./behind-nat.nix
    # What only this host has: its sessions, its input.
    ++ lib.optional (builtins.pathExists (./. + "/${name}.nix")) (./. + "/${name}.nix");
  }
) (read "hosts.json" // read "machines.json")
