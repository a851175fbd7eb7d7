# Configurations to look at, and those that must be refused.
let
  party = services: {
    services.mpyc-party = {
      enable = true;
    }
    // services;
  };
  demo = {
    program = ../../programs/secret_santa.py;
    parties = [
      "alice"
      "bob"
      "carol"
    ];
  };
  with' = session: party { sessions.demo = demo // session; };
in
{
  accepted = {
    nothing = { };
    party = party { };
    session = party {
      openFirewall = true;
      sessions.demo = demo;
    };
    everything = party {
      openFirewall = true;
      group = "wheel";
      tokenFile = "/boot/firmware/mpyc-party.token";
      settings = {
        network.hubs = [ "hub.example.org:4747" ];
        listen.port = 4800;
        agent.metrics = "127.0.0.1:9747";
        peers.bob.address = "203.0.113.7:4747";
        python.interpreter = "/usr/bin/python3";
        expose.ssh = {
          port = 22;
          address = "127.0.0.1";
          groups = [ "admins" ];
          parties = [ "operator" ];
        };
      };
      sessions.demo = demo // {
        arguments = [
          "3"
          "--quick"
        ];
        threshold = 1;
        input = "/var/lib/secrets/wish";
        files = [ ../../programs/voting.py ];
        options = [
          "--no-prss"
          "-K40"
          "--bit-length"
          "48"
          "--log-level=error"
        ];
        start = "on-proposal";
        max-runs = 3;
        interval = "1h";
        deadline = "10m";
        grace = "30s";
        allow-no-privacy = false;
        allow-unknown-mpyc = false;
        sandbox = "required";
        python = "3.13";
        keys = { };
        memory = 4096;
        output = 64;
        journal-output = true;
      };
    };
    # Beside what the program reads there is what systemd does with a session.
    for-systemd = party {
      sessions = {
        timed = demo // {
          startAt = "Mon 09:00 UTC";
        };
        secret = demo // {
          inputCredential = "/root/salary";
        };
        sealed = demo // {
          inputCredentialEncrypted = "/var/lib/salary.cred";
        };
      };
    };
    # Where nobody asks for a sandbox, none is missing.
    without-namespaces = (with' { sandbox = "best-effort"; }) // {
      boot.kernel.sysctl."user.max_user_namespaces" = 0;
    };
    hub = {
      services.mpyc-party = {
        openFirewall = true;
        hub.enable = true;
        authority = {
          enable = true;
          network = "example";
          pool = "fd12:3456:789a::/64";
        };
      };
    };
    hub-of-that-name = party { settings.network.hubs = [ "mpyc1.example.org:4747" ]; };
    hub-alone = {
      services.mpyc-party = {
        hub.enable = true;
        settings.hub.listen = "203.0.113.7:443";
      };
    };
    hub-and-party = {
      services.mpyc-party = {
        enable = true;
        hub.enable = true;
        authority.enable = true;
        authority.network = "example";
        openFirewall = true;
        settings.hub.listen = "[::]:4748";
      };
    };
  }
  // import ./fleet.nix;

  inherit (import ./refusals.nix { inherit demo party with'; }) asserted warned;

  # Types: no configuration comes of it.
  refused = {
    input-in-store = with' { input = "${../../programs/secret_santa.py}"; };
    input-as-path = with' { input = ../../programs/secret_santa.py; };
    input-relative = with' { input = "wish"; };
    token-in-store = party { tokenFile = "${../../programs/secret_santa.py}"; };
    token-as-path = party { tokenFile = ./cases.nix; };
    port = party { settings.listen.port = 70000; };
    metrics-for-others = party { settings.agent.metrics = "0.0.0.0:9747"; };
    exposed-port = party { settings.expose.ssh.port = 70000; };
    exposed-group = party {
      settings.expose.ssh = {
        port = 22;
        groups = [ "Admins" ];
      };
    };
    party-name = with' {
      parties = [
        "Alice"
        "bob"
        "carol"
      ];
    };
    start = with' { start = "always"; };
    option-settled = with' { options = [ "-T0" ]; };
    option-abbreviated = with' { options = [ "--no-pr" ]; };
    option-unknown = with' { options = [ "--ssl" ]; };
    option-number = with' { options = [ "--sec-param=-1" ]; };
    max-runs = with' { max-runs = 0; };
    python = with' { python = "3"; };
    no-program = party {
      sessions.demo.parties = [
        "alice"
        "bob"
        "carol"
      ];
    };
    unknown-option = party { enabled = true; };
  };
}
