# The machines of the container tests: a hub with its authority, and a party. The three parties have
# the same configuration: who is who says only the token. Programs lie where test_fleet.py puts them.
let
  session =
    program: more:
    {
      program = "/opt/programs/${program}.py";
      parties = [
        "alice"
        "bob"
        "carol"
      ];
      start = "on-proposal";
      max-runs = 1000;
      interval = "1s";
      deadline = "1m";
    }
    // more;
  patient.journal-output = true;
in
{
  fleet-hub.services.mpyc-party = {
    openFirewall = true;
    hub.enable = true;
    authority.enable = true;
    authority.network = "example";
  };
  fleet-party.services.mpyc-party = {
    enable = true;
    openFirewall = true;
    tokenFile = "/boot/firmware/mpyc-party.token";
    settings = {
      agent.metrics = "/run/mpyc-party/metrics.sock";
      expose.notes = {
        port = 8080;
        parties = [ "alice" ];
      };
      python.interpreter = "/opt/mpyc/bin/python3";
    };
    sessions = {
      demo = session "secret_santa" { };
      asked = session "secret_santa" { start = "manual"; };
      failing = session "failing" { };
      patient = session "patient" patient;
      # Root alone may read what systemd hands over.
      secret = session "telling" {
        inputCredential = "/root/secret";
        journal-output = true;
      };
      timed = session "secret_santa" { startAt = "yearly"; };
      patient2 = session "patient" patient;
    };
  };
}
