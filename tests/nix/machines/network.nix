# What the tests on machines have in common: a hub with its authority, parties that declare one
# session, and the way from tokens to a finished run.
{
  roster = [
    "alice"
    "bob"
    "carol"
  ];

  hub = {
    services.mpyc-party = {
      openFirewall = true;
      hub.enable = true;
      authority.enable = true;
      authority.network = "example";
    };
  };

  # A party that shares the session `demo`; the program is one that takes long where asked to.
  party =
    {
      program ? ../../../programs/secret_santa.py,
      arguments ? [ ],
    }:
    {
      virtualisation.memorySize = 1536;
      services.mpyc-party = {
        enable = true;
        openFirewall = true;
        sessions.demo = {
          inherit program arguments;
          parties = [
            "alice"
            "bob"
            "carol"
          ];
          start = "on-proposal";
          max-runs = 3;
          interval = "1s";
          deadline = "2m";
        };
      };
    };

  # Python of the test scripts.
  script = ''
    def enrol(machine, name):
        """Hands a token over as an administrator would, and waits until it is used up."""
        token = hub_machine.succeed(f"mpyc-party-as-hub ca token --name {name} --hub hub:4747").strip()
        machine.succeed(
            f"umask 077; echo {token} > /run/token.new; mv /run/token.new /run/mpyc-party.token"
        )
        machine.wait_for_unit("mpyc-party.service")
        machine.succeed("test ! -e /run/mpyc-party.token -a ! -e /var/lib/mpyc-party/token")

    def completed(machine, runs=1):
        """Waits until the journal tells of so many completed runs of `demo`."""
        machine.wait_until_succeeds(
            "test $(journalctl -o cat -u mpyc-session@demo.service"
            f" | grep -c completed) -ge {runs}",
            timeout=120,
        )

    start_all()
    hub_machine = hub
    hub.wait_for_unit("mpyc-party-hub.service")
    hub.wait_for_open_port(4747)
    for machine, name in [(alice, "alice"), (bob, "bob"), (carol, "carol")]:
        enrol(machine, name)
  '';
}
