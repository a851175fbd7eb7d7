# The agent is restarted, and killed, while a run goes on: the run completes.
let
  network = import ./network.nix;
  slow = builtins.toFile "slow.py" ''
    import asyncio
    from mpyc.runtime import mpc

    async def main():
        secint = mpc.SecInt()
        async with mpc:
            for turn in range(30):
                await mpc.output(mpc.sum(mpc.input(secint(turn))))
                await asyncio.sleep(1)
        print("done")

    mpc.run(main())
  '';
  party = network.party { program = slow; };
in
{
  name = "mpyc-party-restart";

  nodes = {
    inherit (network) hub;
    alice = party;
    bob = party;
    carol = party;
  };

  testScript = ''
    ${network.script}
    alice.succeed("systemctl start mpyc-session@demo.service")
    for machine in [bob, carol]:
        machine.wait_until_succeeds("systemctl is-active mpyc-session@demo.service")
    bob.succeed("systemctl restart mpyc-party.service")
    carol.succeed("systemctl kill --signal=KILL mpyc-party.service")
    carol.wait_for_unit("mpyc-party.service")
    for machine in [alice, bob, carol]:
        completed(machine)
  '';
}
