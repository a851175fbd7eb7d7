# Three machines and a hub: one starts the session, all complete it; a failed run is a failed unit.
let
  network = import ./network.nix;
in
{
  name = "mpyc-party-session";

  nodes = {
    inherit (network) hub;
    alice = network.party { };
    bob = network.party { };
    carol = network.party { };
  };

  testScript = ''
    ${network.script}
    with subtest("a session started on one machine completes on all"):
        alice.succeed("systemctl start --wait mpyc-session@demo.service")
        for machine in [alice, bob, carol]:
            completed(machine)

    with subtest("a run that was stopped has failed everywhere, and says who stopped it"):
        bob.succeed("systemctl stop mpyc-party.service mpyc-party.socket")
        alice.fail("timeout 20 systemctl start --wait mpyc-session@demo.service")
        alice.succeed("systemctl stop mpyc-session@demo.service")
        alice.succeed("journalctl -o cat -u mpyc-session@demo.service | grep -q bob")

    with subtest("a machine that was restarted is back without help"):
        carol.shutdown()
        carol.start()
        carol.wait_for_unit("mpyc-party.service")
        bob.succeed("systemctl start mpyc-party.socket mpyc-party.service")
        alice.succeed("systemctl start --wait mpyc-session@demo.service")

    with subtest("the units keep what they promise"):
        for unit, most in [("mpyc-party", 15), ("mpyc-session@demo", 30)]:
            alice.succeed(f"systemd-analyze security --threshold={most} {unit}.service")
        hub.succeed("systemd-analyze security --threshold=15 mpyc-party-hub.service")
  '';
}
