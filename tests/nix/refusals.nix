# Configurations that are refused or warned of, with words of what is said.
{
  demo,
  party,
  with',
}:
{
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
    hub-anywhere = {
      words = "the port of a hub. Name one";
      module.services.mpyc-party = {
        hub.enable = true;
        settings.hub.listen = "[::]:0";
      };
    };
    input-at-home = {
      words = "sessions.demo names /home/alice/wish, which the unit does not see";
      module = with' { input = "/home/alice/wish"; };
    };
    input-of-root = {
      words = "names /root/wish";
      module = with' { input = "/root/wish"; };
    };
    input-in-tmp = {
      words = "names /tmp/wish";
      module = with' { input = "/tmp/wish"; };
    };
    program-at-home = {
      words = "names /home/alice/demo.py";
      module = with' { program = "/home/alice/demo.py"; };
    };
    file-in-tmp = {
      words = "names /var/tmp/x.csv";
      module = with' { files = [ "/var/tmp/x.csv" ]; };
    };
    python-at-home = {
      words = "settings.python.interpreter names /home/alice/venv/bin/python3";
      module = party { settings.python.interpreter = "/home/alice/venv/bin/python3"; };
    };
    token-in-tmp = {
      words = "tokenFile names /tmp/token";
      module = party { tokenFile = "/tmp/token"; };
    };
    two-inputs = {
      words = "keep the one that holds";
      module = with' {
        input = "/var/lib/wish";
        inputCredential = "/var/lib/wish";
      };
    };
    directory = {
      words = "/programs, which is\na directory: name the files in it";
      module = with' { files = [ ./programs ]; };
    };
    file-missing = {
      words = "/none.py, which is\nnot there";
      module = with' { files = [ ./none.py ]; };
    };
    no-namespaces = {
      words = "security.allowUserNamespaces = false forbids user namespaces";
      module = (with' { }) // {
        security.allowUserNamespaces = false;
        # NixOS itself wants them for builds.
        nix.settings.sandbox = false;
      };
    };
    no-more-namespaces = {
      words = "user.max_user_namespaces forbids";
      module = (with' { }) // {
        boot.kernel.sysctl."user.max_user_namespaces" = 0;
      };
    };
    namespaces-for-root = {
      words = "kernel.unprivileged_userns_clone forbids";
      module = (with' { }) // {
        boot.kernel.sysctl."kernel.unprivileged_userns_clone" = false;
      };
    };
    party-reserved = {
      words = "sessions.demo.parties has «everybody», «me»";
      module = with' {
        parties = [
          "alice"
          "everybody"
          "me"
        ];
      };
    };
    key-of-reserved = {
      words = "sessions.demo.keys has «you»";
      module = with' { keys.you = "ed25519:…"; };
    };
    peer-reserved = {
      words = "settings.peers has «nobody»";
      module = party { settings.peers.nobody.address = "203.0.113.7:4747"; };
    };
    exposed-to-reserved = {
      words = "settings.expose.ssh.parties has «others»";
      module = party {
        settings.expose.ssh = {
          port = 22;
          parties = [ "others" ];
        };
      };
    };
    name-of-session = {
      words = "lower-case letters";
      module = party { sessions."demo@x" = demo; };
    };
  };

  # Warnings: somebody may mean it, and is told what does not work.
  warned = {
    sessions-of-no-party = {
      words = "declares sessions, and this machine is no party";
      module.services.mpyc-party.sessions.demo = demo;
    };
    exposed-by-no-party = {
      words = "declares expose, and";
      module.services.mpyc-party = {
        hub.enable = true;
        settings.expose.ssh.port = 22;
      };
    };
    port-of-root = {
      words = "listen.port is 443";
      module = party { settings.listen.port = 443; };
    };
  };
}
