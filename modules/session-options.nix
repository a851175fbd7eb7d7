# One declared session: [sessions.NAME] of the configuration.
{ lib, toml }:
let
  inherit (lib) mkOption types;
  own = import ./types.nix { inherit lib; };
  inherit (own) optional;
in
{
  freeformType = toml;

  options = {
    program = mkOption {
      type = types.path;
      example = lib.literalExpression "./secret_santa.py";
      description = "The MPyC program. All parties must have the same, under the same name.";
    };
    parties = mkOption {
      type = types.listOf own.name;
      example = [
        "alice"
        "bob"
        "carol"
      ];
      description = "The roster, in order: the position is the MPyC party index.";
    };
    arguments = optional (types.listOf types.str) {
      example = [ "3" ];
      description = "Arguments of the program.";
    };
    threshold = optional types.ints.unsigned {
      example = 1;
      description = "How many parties may pool what they saw and still learn nothing more.";
    };
    input = optional own.secretFile {
      example = "/var/lib/secrets/salary";
      description = ''
        This party's private input: a file that the user `mpyc-party` can read, outside `/home` and
        `/tmp`, put there by hand, sops-nix or agenix. The program finds its path in
        `$MPYC_PARTY_INPUT`.
      '';
    };
    inputCredential = optional own.secretFile {
      example = "/run/secrets/salary";
      description = ''
        This party's private input as a file that only root can read, wherever it is: systemd hands it
        over as a credential of the run's unit. At most 1 MiB.
      '';
    };
    inputCredentialEncrypted = optional types.path {
      example = lib.literalExpression "./salary.cred";
      description = ''
        The same as a file that `systemd-creds encrypt --name=input SALARY salary.cred` made on this
        machine. It is decrypted for each run; nobody can read it elsewhere, so that it may be in the
        Nix store.
      '';
    };
    files = optional (types.listOf types.path) {
      example = lib.literalExpression "[ ./helper.py ]";
      description = "What else the program reads; part of the agreement.";
    };
    options = optional (types.listOf own.mpycOption) {
      example = [ "--no-prss" ];
      description = ''
        Options of MPyC itself: a fixed list, written out in full; docs/configuration.md has it.
      '';
    };
    start =
      optional
        (types.enum [
          "manual"
          "on-proposal"
        ])
        {
          example = "on-proposal";
          description = "Who may start a run: somebody on this machine, or another party as well.";
        };
    startAt = optional (types.either types.str (types.listOf types.str)) {
      example = "Mon 09:00 UTC";
      description = ''
        When to start the session, as a calendar event of systemd.time(7): by the timer
        `mpyc-session@NAME.timer`. A time at which the machine was off is made up for. All parties should
        have the same time, in UTC, or let others start their part (`start = "on-proposal"`).
      '';
    };
    max-runs = optional types.ints.positive {
      example = 3;
      description = "How many runs may start on proposal.";
    };
    interval = optional own.duration {
      example = "1h";
      description = "Minimum time between two runs that start on proposal.";
    };
    deadline = optional own.duration {
      example = "10m";
      description = "How long to wait for all parties to be there.";
    };
    grace = optional own.duration {
      example = "30s";
      description = "How long a party may be silent before the run fails.";
    };
    allow-no-privacy = optional types.bool {
      example = true;
      description = ''
        Whether to allow threshold 0, which hides nothing from the other parties, and options of MPyC
        by which it hides too little.
      '';
    };
    allow-unknown-mpyc = optional types.bool {
      example = true;
      description = ''
        Whether to allow an MPyC that is no release known to mpyc-party; all parties must then have the
        same files of it.
      '';
    };
    sandbox =
      optional
        (types.enum [
          "required"
          "best-effort"
        ])
        {
          example = "required";
          description = "Whether a run is refused where its sandbox cannot be made in full.";
        };
    python = optional (types.strMatching "[0-9]+[.][0-9]+") {
      example = "3.13";
      description = "The Python version that all parties must have.";
    };
    keys = optional (types.attrsOf types.str) {
      example = {
        bob = "ed25519:…";
      };
      description = "Public keys that these parties must have.";
    };
    memory = optional types.ints.positive {
      example = 4096;
      description = "Maximum memory of the MPyC process in MiB.";
    };
    output = optional types.ints.positive {
      example = 64;
      description = "Maximum output of the program in MiB.";
    };
    journal-output = optional types.bool {
      example = true;
      description = "Whether the program's output also goes to the journal.";
    };
  };
}
