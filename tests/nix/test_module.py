"""The module, evaluated by the stand-in for the NixOS module system (stand-in/, which is not that
system), against the real agent and the real systemd."""

import json
import pathlib
import re
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import module
import reference

# systemd-analyze's exposure, times ten.
EXPOSURE = {
    "mpyc-party.service": 15,
    "mpyc-party-expose.service": 15,
    "mpyc-party-hub.service": 15,
    "mpyc-party-authority.service": 15,
    "mpyc-party-token.service": 30,
    "mpyc-session@.service": 30,
}


# What the module does of a session itself, with systemd, and the program never hears of.
FOR_SYSTEMD = {"inputCredential", "inputCredentialEncrypted", "startAt"}


def run(*command: object, **more) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)


class Module(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.all = module.described()
        cls.cases = cls.all["accepted"]

    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def ask(self, *words: object):
        """What the agent answers, in JSON."""
        done = run(module.agent(), "--state", self.directory, "--json", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def configuration(self, settings: dict) -> pathlib.Path:
        path = self.directory / "config.toml"
        path.write_text(module.toml(settings))
        return path

    def test_the_agent_accepts_what_the_module_writes(self):
        for name, case in self.cases.items():
            with self.subTest(name):
                self.assertEqual(case["failed"], [])
                if case["settings"] is None:
                    continue
                path = self.configuration(case["settings"])
                check = ["config", "check", "--without-files", path]
                done = run(module.agent(), "--state", self.directory, *check)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_nothing_is_written_that_was_not_set(self):
        written = self.cases["session"]["settings"]["sessions"]["demo"]
        self.assertEqual(set(written), {"program", "parties"})
        self.assertEqual(self.cases["nothing"]["settings"], None)
        self.assertEqual(self.cases["nothing"]["services"], {})

    def test_the_module_has_the_keys_and_defaults_of_the_agent(self):
        everything = self.cases["everything"]["settings"]
        shown = self.ask("--config", self.configuration(everything), "config", "show")
        options = [option["name"] for option in module.nix("import ./options.nix")]
        for section, name in [("sessions", "demo"), ("expose", "ssh")]:
            with self.subTest(section):
                place = f"services.mpyc-party.settings.{section}.<name>."
                declared = {name.removeprefix(place) for name in options if name.startswith(place)}
                if section == "sessions":
                    self.assertEqual(FOR_SYSTEMD - declared, set())
                    declared -= FOR_SYSTEMD
                self.assertEqual(declared, set(shown[section][name]))
                self.assertEqual(declared, set(everything[section][name]), "the case lacks some")
        # What the module writes unasked is what the agent would take.
        self.configuration({})
        default = self.ask("--config", self.directory / "config.toml", "config", "show")
        for section, values in self.cases["hub"]["settings"].items():
            for key, value in values.items():
                with self.subTest(f"{section}.{key}"):
                    self.assertEqual(value, default[section][key])

    def test_a_program_keeps_its_name(self):
        program = self.cases["session"]["settings"]["sessions"]["demo"]["program"]
        self.assertRegex(program, r"^/nix/store/[a-z0-9]{32}-mpyc-session/secret_santa\.py$")

    def test_assertions_fire(self):
        for name, case in self.all["asserted"].items():
            with self.subTest(name):
                self.assertEqual(len(case["failed"]), 1, case["failed"])
                self.assertIn(case["words"], case["failed"][0])

    def test_warnings_are_given_and_only_where_something_does_not_work(self):
        for name, case in self.all["warned"].items():
            with self.subTest(name):
                self.assertEqual(case["failed"], [])
                [warning] = case["warnings"]
                self.assertIn(case["words"], warning)
        for name, case in self.cases.items():
            with self.subTest(name):
                self.assertEqual(case["warnings"], [])

    def test_the_reserved_names_are_those_of_the_program(self):
        text = (module.PROJECT / "agent/core/src/name.rs").read_text()
        listed = re.search(r"RESERVED_PARTY_NAMES: [^=]* = \[([^]]*)\]", text)[1]
        names = module.nix("import ../../modules/reserved-names.nix")
        self.assertEqual(names, re.findall(r'"([^"]*)"', listed))

    def test_a_session_with_a_time_has_a_timer(self):
        case = self.cases["for-systemd"]
        self.assertEqual(set(case["timers"]), {"mpyc-session@timed"})
        timer = case["timers"]["mpyc-session@timed"]
        self.assertEqual(timer["timerConfig"], {"OnCalendar": "Mon 09:00 UTC", "Persistent": True})
        self.assertEqual(timer["wantedBy"], ["timers.target"])

    def test_what_a_session_has_of_its_own_is_added_to_the_template(self):
        """A unit mpyc-session@NAME would take its place: systemd would have nothing to run."""
        for name, case in self.cases.items():
            sessions = (case["settings"] or {}).get("sessions", {})
            instances = [unit for unit in case["services"] if re.match("mpyc-session@.", unit)]
            with self.subTest(name):
                self.assertEqual(instances, [f"mpyc-session@{one}" for one in sessions])
                for unit in instances:
                    self.assertEqual(case["services"][unit]["overrideStrategy"], "asDropin")
                    self.assertIs(case["services"][unit]["restartIfChanged"], False)

    def test_an_input_is_handed_over_by_systemd(self):
        case = self.cases["for-systemd"]
        units, sessions = case["services"], case["settings"]["sessions"]
        for name, loaded in {
            "secret": {"LoadCredential": "input:/root/salary"},
            "sealed": {"LoadCredentialEncrypted": "input:/var/lib/salary.cred"},
        }.items():
            with self.subTest(name):
                self.assertEqual(units[f"mpyc-session@{name}"]["serviceConfig"], loaded)
                # What systemd calls it (systemd.exec(5), «Credentials»).
                place = f"/run/credentials/mpyc-session@{name}.service/input"
                self.assertEqual(sessions[name]["input"], place)
                self.assertEqual(FOR_SYSTEMD & set(sessions[name]), set())

    def test_what_is_of_a_wrong_type_is_refused(self):
        self.assertTrue(self.all["possible"])
        for name, came in self.all["refused"].items():
            with self.subTest(name):
                self.assertFalse(came)

    def test_the_firewall_lets_in_what_is_served(self):
        for name, ports in {
            "party": [],
            "session": [4747],
            "everything": [4800],
            "hub": [4747],
            "hub-and-party": [4747, 4748],
        }.items():
            with self.subTest(name):
                self.assertEqual(self.cases[name]["tcp"], ports)
                self.assertEqual(self.cases[name]["udp"], ports)

    def test_the_socket_is_on_the_port_of_the_configuration(self):
        socket = self.cases["everything"]["sockets"]["mpyc-party"]
        self.assertEqual(socket["listenStreams"], ["4800"])

    def test_a_run_is_not_restarted_by_a_new_configuration(self):
        session = self.cases["session"]["services"]["mpyc-session@"]
        self.assertIs(session["restartIfChanged"], False)
        self.assertIs(session["stopIfChanged"], False)

    def test_the_agent_starts_anew_with_what_a_reload_does_not_take_up(self):
        [trigger] = self.cases["everything"]["services"]["mpyc-party"]["restartTriggers"]
        read_at_start = {key: self.cases["everything"]["settings"][key] for key in ("agent", "listen", "network")}
        self.assertEqual(json.loads(trigger), read_at_start)

    def test_a_hub_starts_anew_with_what_concerns_it_and_with_nothing_else(self):
        case = self.cases["hub-and-party"]
        [trigger] = case["services"]["mpyc-party-hub"]["restartTriggers"]
        self.assertEqual(set(json.loads(trigger)), {"hub", "network"})
        self.assertEqual(json.loads(trigger)["hub"], case["settings"]["hub"])

    def test_a_hub_is_not_away_while_a_machine_switches(self):
        self.assertIs(self.cases["hub"]["services"]["mpyc-party-hub"]["stopIfChanged"], False)

    def test_a_hub_without_an_authority_can_be_enrolled_before_its_first_start(self):
        case = self.cases["hub-alone"]
        own = {"user": "mpyc-party-hub", "group": "mpyc-party-hub", "mode": "0700"}
        self.assertEqual(case["tmpfiles"], {"/var/lib/mpyc-party-hub": {"d": own}})
        [command] = case["commands"]
        self.assertRegex(command, r"--reuid=mpyc-party-hub .*(?s:.)* --state /var/lib/mpyc-party-hub ")

    def test_nothing_is_exposed_unless_it_is_configured(self):
        for name, case in self.cases.items():
            exposed = (case["settings"] or {}).get("expose")
            with self.subTest(name):
                self.assertEqual("mpyc-party-expose" in case["services"], bool(exposed))
        unit = self.cases["everything"]["services"]["mpyc-party-expose"]
        self.assertIs(unit["reloadIfChanged"], True, "a roll-out must not cut itself off")

    def test_only_the_hub_below_1024_may_bind_there(self):
        hub = self.cases["hub-alone"]["services"]["mpyc-party-hub"]["serviceConfig"]
        self.assertEqual(hub["AmbientCapabilities"], "CAP_NET_BIND_SERVICE")
        other = self.cases["hub"]["services"]["mpyc-party-hub"]["serviceConfig"]
        self.assertNotIn("AmbientCapabilities", other)

    def test_the_bus_lets_the_group_call_and_the_agent_own(self):
        policies = ElementTree.fromstring(self.cases["everything"]["bus"][0]).findall("policy")
        rules = {
            tuple(policy.attrib.items())[0]: [(rule.tag, *rule.attrib) for rule in policy]
            for policy in policies
        }
        own, send, receive = "own", "send_destination", "receive_sender"
        denied = [("deny", own), ("deny", send), ("deny", receive)]
        self.assertEqual(rules["context", "default"], denied)
        allowed = [("allow", own), ("allow", send), ("allow", receive)]
        self.assertEqual(rules["user", "mpyc-party"], allowed)
        self.assertEqual(rules["group", "wheel"], allowed[1:])

    def test_polkit_allows_sessions_and_nothing_else(self):
        rule = self.cases["everything"]["polkit"]
        pattern = re.compile(re.search(r"/(\^mpyc-session.*\$)/", rule)[1])
        self.assertTrue(pattern.match("mpyc-session@demo.service start"))
        for other in (
            "mpyc-session@demo.service kill",
            "mpyc-party.service stop",
            "xmpyc-session@demo.service start",
            "mpyc-session@../x.service start",
            "mpyc-session@demo.service start\nsshd.service stop",
        ):
            self.assertFalse(pattern.fullmatch(other), other)
        self.assertIn('isInGroup("wheel")', rule)

    def test_a_unit_of_a_run_may_do_what_its_sandbox_does(self):
        text = (module.PROJECT / "agent/sandbox/src/namespaces.rs").read_text()
        calls = set(re.findall(r"rustix::system::(set\w+)\(", text))
        self.assertTrue(calls)
        config = self.cases["session"]["services"]["mpyc-session@"]["serviceConfig"]
        # Beside groups of calls, which have neither.
        self.assertEqual(calls - set(" ".join(config["SystemCallFilter"]).split()), set())

    def test_systemd_accepts_the_units(self):
        for name in ("everything", "for-systemd", "hub", "hub-alone"):
            with self.subTest(name):
                directory = self.directory / name
                directory.mkdir()
                units = module.write_units(self.cases[name], directory)
                done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units)
                # What it says of units that are not here is about this machine; the credential of
                # the token's unit is younger than the systemd of Debian 12.
                said = [
                    line
                    for line in done.stderr.splitlines()
                    if "mpyc" in line and "Unknown key 'ImportCredential'" not in line
                ]
                self.assertEqual(said, [])

    def test_systemd_finds_little_exposure(self):
        for name in ("everything", "hub", "hub-alone"):
            directory = self.directory / name
            directory.mkdir()
            for path in module.write_units(self.cases[name], directory):
                if path.suffix != ".service":
                    continue
                with self.subTest(path.name, case=name):
                    done = run(
                        "systemd-analyze", "security", "--offline=yes",
                        f"--threshold={EXPOSURE[path.name]}", "--no-pager", path,
                    )
                    self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr)

    def test_the_option_reference_is_of_today(self):
        self.assertEqual(
            reference.text(), reference.FILE.read_text(), "run tests/nix/reference.py"
        )


class Token(unittest.TestCase):
    """The command that takes the token, run for real in a directory of its own."""

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as directory:
            authority = (module.agent(), "--state", directory, "ca")
            run(*authority, "init", "--network", "example", check=True)
            token = run(*authority, "token", "--name", "alice", "--hub", "hub:1", check=True)
            cls.TOKEN = token.stdout.strip()

    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        service = module.described()["accepted"]["party"]["services"]["mpyc-party-token"]
        command = service["serviceConfig"]["ExecStart"].replace("/var/lib/mpyc-party", str(self.root))
        # As systemd reads it: words, one of which is the value of a variable.
        self.command = command.replace("/etc/mpyc-party/config.toml", "/dev/null").split()
        self.left = self.root / "left"
        self.token = self.root / "token"

    def take(self, credentials: str = "/nonexistent"):
        words = [str(self.left) if word == "${TOKEN_FILE}" else word for word in self.command[1:]]
        done = run(module.agent(), *words, env={"CREDENTIALS_DIRECTORY": credentials})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def test_a_token_is_moved_and_is_private(self):
        self.left.write_text(f"{self.TOKEN}\n")
        self.take()
        self.assertEqual(self.token.read_text(), self.TOKEN)
        self.assertEqual(self.token.stat().st_mode & 0o777, 0o600)
        self.assertEqual([path.name for path in self.root.iterdir()], ["token"])

    def test_without_one_nothing_happens(self):
        self.take()
        self.assertEqual(list(self.root.iterdir()), [])

    def test_one_for_a_party_that_is_enrolled_is_taken_away_unused(self):
        self.left.write_text(f"{self.TOKEN}\n")
        (self.root / "identity").mkdir()
        (self.root / "identity/certificate.pem").touch()
        self.take()
        self.assertEqual([path.name for path in self.root.iterdir()], ["identity"])

    def test_a_credential_does_as_well(self):
        credentials = self.root / "credentials"
        credentials.mkdir()
        (credentials / "mpyc-party.token").write_text(f"{self.TOKEN}\n")
        self.take(str(credentials))
        self.assertEqual(self.token.read_text(), self.TOKEN)

    def test_what_holds_none_is_taken_away(self):
        self.left.write_text("mpyc1abc\n")
        self.take()
        self.assertEqual(list(self.root.iterdir()), [])

    def test_what_manages_secrets_keeps_its_file(self):
        """As sops-nix and agenix do, whose files are back at the next start."""
        secret = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "secret"
        secret.write_text(f"{self.TOKEN}\n")
        self.left.symlink_to(secret)
        self.take()
        self.assertEqual(self.token.read_text(), self.TOKEN)
        (self.root / "identity").mkdir()
        (self.root / "identity/certificate.pem").touch()
        self.assertNotIn("stays", self.take().stderr, "nobody can do anything about it")
        self.assertTrue(self.left.is_symlink())
        self.assertEqual(secret.read_text(), f"{self.TOKEN}\n")

    def test_one_that_nobody_used_is_replaced(self):
        self.token.write_text("an older one")
        self.left.write_text(f"{self.TOKEN}\n")
        self.take()
        self.assertEqual(self.token.read_text(), self.TOKEN)

    def test_no_planted_link_is_followed(self):
        """The user mpyc-party, who owns the directory, may mean ill to root, who writes there."""
        elsewhere = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        victim = elsewhere / "victim"
        for planted in ("token", "token.new"):
            for target in (victim, elsewhere, elsewhere / "none"):
                with self.subTest(planted, target=target.name):
                    victim.write_text("precious")
                    (self.root / planted).unlink(missing_ok=True)
                    (self.root / planted).symlink_to(target)
                    self.left.write_text(f"{self.TOKEN}\n")
                    self.take()
                    self.assertEqual(victim.read_text(), "precious")
                    self.assertEqual([path.name for path in elsewhere.iterdir()], ["victim"])
                    self.assertEqual(self.token.read_text(), self.TOKEN)
                    self.assertFalse(self.token.is_symlink())


if __name__ == "__main__":
    unittest.main()
