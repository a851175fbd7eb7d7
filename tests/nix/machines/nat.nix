# A party behind a router that translates addresses takes part like any other.
let
  network = import ./network.nix;
  inside = 2;
in
{
  name = "mpyc-party-nat";

  nodes = {
    inherit (network) hub;
    alice = network.party { };
    bob = network.party { };
    carol =
      { lib, nodes, ... }:
      {
        imports = [ (network.party { }) ];
        virtualisation.vlans = [ inside ];
        networking.defaultGateway =
          (lib.head nodes.router.networking.interfaces.eth2.ipv4.addresses).address;
      };
    router = {
      virtualisation.vlans = [
        1
        inside
      ];
      networking = {
        nftables.enable = true;
        firewall.enable = true;
        nat = {
          enable = true;
          externalInterface = "eth1";
          internalInterfaces = [ "eth2" ];
        };
      };
    };
  };

  testScript = ''
    ${network.script}
    with subtest("nobody reaches the party behind the router by itself"):
        alice.fail("timeout 5 bash -c '</dev/tcp/carol/4747'")

    with subtest("and yet it takes part"):
        carol.succeed("systemctl start --wait mpyc-session@demo.service")
        for machine in [alice, bob, carol]:
            completed(machine)
  '';
}
