# Configurations to look at, and those that must be refused, with words of the refusal.
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

  # Assertions: the configuration can be written down, and is refused with this message.
  asserted = {
    authority-without-hub = {
      words = "authority.enable needs services.mpyc-party.hub.enable";
      module = party {
        authority.enable = true;
        authority.network = "example";
      };
    };
    same-port = {
      words = "both want port 4747";
      module = party { hub.enable = true; };
    };
    port-zero = {
      words = "listen.port is 0";
      module = party { settings.listen.port = 0; };
    };
    group-of-nobody = {
      words = "declare it as";
      module = party { group = "nobody-declared-it"; };
    };
    token-in-settings = {
      words = "holds an enrolment token";
      module = party {
        settings.peers.bob.address = "mpyc1AABHAWEBA2g6Meyo-uyBL8HipqCGVwxCd0S6rVRjqX3EzEF4PAUErqYqsiMFYxyw";
      };
    };
    name-of-session = {
      words = "lower-case letters";
      module = party { sessions."demo@x" = demo; };
    };
  };

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
