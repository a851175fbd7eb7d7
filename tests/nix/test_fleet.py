"""The module's units, policies and configuration under the real systemd, on a hub and three parties."""

import atexit
import json
import pathlib
import re
import shutil
import signal
import sys
import unittest

import container
import fleet
import module
from container import Machine, eventually
from fleet import Patient, Running, ask, call, is_ready, sessions

SOCKETS = ("mpyc-party.socket", "mpyc-party-runners.socket")


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if reason := container.why_not():
            cls.skip(reason)
        # Tests that are ended early leave nothing behind either; unittest then cleans nothing up.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            cls.fleet = cls.enterClassContext(fleet.Fleet())
        except container.NoContainer as reason:
            cls.skip(reason)
        atexit.register(cls.fleet.close)
        cls.hub, cls.alice, cls.bob, cls.carol = cls.fleet.hub, *cls.fleet.parties

    @classmethod
    def skip(cls, reason: object) -> None:
        print(f"\nNOT TESTED: the units under a real systemd ({reason})", file=sys.stderr)
        raise unittest.SkipTest(str(reason))

    def completes(self, running: Running) -> None:
        self.assertEqual(running.verdicts(), ["completed"] * 3)

    def is_stopped(self, running: Running, where: str) -> None:
        for verdict in running.verdicts():
            self.assertEqual((verdict["failed"]["who"], verdict["failed"]["reason"]), ([where], "stopped"))

    def reaches_the_hub(self, party: Machine) -> None:
        eventually(lambda: is_ready(party) and ask(party, "Hubs") == {fleet.HUB: "up"}, party.journal)

    def is_served(self, port: int) -> None:
        self.reaches_the_hub(self.bob)
        self.assertEqual(ask(self.bob, "Port"), port)
        self.assertEqual({443, 4747, 4800} & self.fleet.network.listening("bob"), {port})

    def test_01_nothing_fails_before_there_is_a_token(self):
        self.assertEqual(self.alice.well("systemctl", "--failed", "--no-legend"), "")
        for unit in ("mpyc-party.service", *SOCKETS):
            self.assertEqual(self.alice("systemctl", "is-active", unit).stdout, "inactive\n", unit)

    def test_02_each_party_is_ready_given_only_a_token_which_is_then_gone(self):
        put = f"umask 077; cat > /boot/new; mv /boot/new /{fleet.TOKEN}"
        self.alice.well("sh", "-c", put, input=self.fleet.late)
        for party in self.fleet.parties:
            self.reaches_the_hub(party)
            self.assertEqual(ask(party, "Name"), party.name)
            self.assertIn(f"{party.name} in example", party.property("mpyc-party.service", "StatusText"))
            for left in (f"/{fleet.TOKEN}", f"{fleet.STATE}/token"):
                self.assertNotEqual(party("test", "-e", left).returncode, 0, f"{left} of {party.name}")
            self.assertEqual(party.well("systemctl", "is-active", *SOCKETS), "active\n" * 2)
            mode = party.well("stat", "-c", "%a %U", "/run/mpyc-party/agent.sock")
            self.assertEqual(mode, "600 mpyc-party\n")

    def test_03_the_hub_says_what_it_does(self):
        self.assertEqual(self.hub.property("mpyc-party-hub.service", "Type"), "notify")
        self.assertIn("with the authority", self.hub.property("mpyc-party-hub.service", "StatusText"))

    def test_04_a_session_that_one_starts_completes_everywhere_and_the_journal_tells_its_story(self):
        running = Running(self.fleet, "demo")
        self.alice.well("systemctl", "start", "--wait", "mpyc-session@demo.service")
        self.completes(running)
        run = running.newest()[0]["run"]
        for party in self.fleet.parties:
            story = party.entries("MPYC_SESSION=demo")
            told = [entry["MESSAGE"] for entry in story]
            for sentence in ("looking for", "linked to", f"agreed on run {run}", "completed"):
                self.assertTrue(any(sentence in line for line in told), f"no «{sentence}» in {told}")
            self.assertFalse(any("Your present" in line for line in told), "output is in the journal")
            of_run = [entry for entry in story if entry.get("MPYC_RUN") == run]
            self.assertTrue({"run", "end"} <= {entry.get("MPYC_STAGE") for entry in of_run})
            runner = [entry for entry in story if entry["_SYSTEMD_UNIT"].startswith("mpyc-session@")]
            self.assertEqual({entry["MPYC_PARTY"] for entry in runner if "MPYC_PARTY" in entry}, {party.name})
        self.assertIn("alice proposes session demo: it is started", self.bob.journal())

    def test_05_a_session_that_is_stopped_has_failed_everywhere_and_says_where(self):
        running = Patient(self.fleet)
        self.bob.well("systemctl", "stop", "mpyc-session@patient.service")
        self.is_stopped(running, "bob")
        for party in self.fleet.parties:
            self.assertIn("bob: the session was stopped there", party.journal("MPYC_SESSION=patient"))

    def test_06_a_run_does_not_notice_what_becomes_of_the_agents_and_the_hub(self):
        running = Patient(self.fleet)
        agent, session = "mpyc-party.service", "mpyc-session@patient.service"
        before = self.processes(agent), self.processes(session)
        self.hub.well("systemctl", "restart", "mpyc-party-hub.service")
        self.alice.well("systemctl", "restart", agent)
        self.bob.well("systemctl", "kill", "--kill-whom=main", "--signal=KILL", agent)
        # An upgrade: another file, of another length, in the place of the old one.
        new = self.carol.root / "usr/local/bin/new"
        shutil.copy(module.agent(), new)
        with new.open("ab") as file:
            file.write(b"upgraded")
        new.rename(new.with_name("mpyc-party"))
        self.carol.well("systemctl", "restart", agent)
        for party in self.fleet.parties:
            self.reaches_the_hub(party)
            eventually(lambda: sessions(party)["patient"] == "running", party.journal)
        for then, now in zip(before[0], self.processes(agent), strict=True):
            self.assertNotEqual(then, now)
        self.assertEqual(before[1], self.processes(session))
        sizes = [
            self.carol.well("stat", "--dereference", "--format=%s", f"/proc/{process}/exe")
            for process in (self.processes(agent)[-1], self.processes(session)[-1])
        ]
        self.assertNotEqual(*sizes, "the agent is the old one")
        self.assertEqual(running.finish(), ["completed"] * 3)

    def processes(self, unit: str) -> list[str]:
        return [party.property(unit, "MainPID") for party in self.fleet.parties]

    def test_07_a_machine_that_restarts_tells_the_others_and_is_back_without_help(self):
        running = Patient(self.fleet)
        self.carol.reboot()
        self.is_stopped(running, "carol")
        self.reaches_the_hub(self.carol)
        self.assertEqual(ask(self.carol, "Name"), "carol")
        running = Running(self.fleet, "demo")
        self.alice.well("systemctl", "start", "mpyc-session@demo.service")
        self.completes(running)

    def test_08_two_sessions_share_one_port(self):
        both = [Patient(self.fleet), Patient(self.fleet, "patient2")]
        for party in self.fleet.parties:
            self.assertEqual([sessions(party)[one.session] for one in both], ["running"] * 2)
            self.assertEqual(self.fleet.network.listening(party.name), {4747})
            for one in both:
                self.assertIn("listening on port 4747", party.journal(f"MPYC_SESSION={one.session}"))
        for one in both:
            self.assertEqual(one.finish(), ["completed"] * 3)

    def test_09_a_run_that_failed_is_a_failed_unit_which_says_why(self):
        running = Running(self.fleet, "failing")
        unit = "mpyc-session@failing.service"
        self.assertNotEqual(self.alice("systemctl", "start", "--wait", unit).returncode, 0)
        for verdict in running.verdicts():
            self.assertEqual(verdict["failed"]["who"], ["bob"])
        for party in self.fleet.parties:
            eventually(lambda: party.property(unit, "ActiveState") == "failed", party.journal)
            self.assertIn("failed: bob: ", party("systemctl", "status", "--no-pager", "--full", unit).stdout)
            self.assertEqual(party.property(unit, "ExecMainStatus"), "1")
            party.well("systemctl", "reset-failed", unit)

    def test_10_the_bus_shows_the_interface_to_the_group_alone(self):
        look = ["busctl", "introspect", "org.mpyc.Party1", "/org/mpyc/Party1", "org.mpyc.Party1"]
        shown = self.bob.well(*look, user="member")
        for member in (".Start", ".Approve", ".CertificateExpiry", ".Sessions", ".RunEnded"):
            self.assertIn(member, shown)
        self.assertNotEqual(self.bob(*look, user="stranger").returncode, 0)

    def test_11_the_group_starts_sessions_over_the_bus(self):
        refused = call(self.bob, "stranger", "Start", "demo")
        self.assertIn("Access denied", refused.stderr)
        refused = call(self.bob, "member", "Start", "mpyc-party-hub")
        self.assertIn("there is no session", refused.stderr)
        ears = {user: self.ear(user) for user in ("member", "stranger")}
        running = Running(self.fleet, "demo")
        self.assertEqual(call(self.bob, "member", "Start", "demo").stderr, "")
        self.completes(running)
        eventually(lambda: "member=RunEnded" in ears["member"].read_text(), self.bob.journal)
        self.assertNotIn("/org/mpyc/Party1", ears["stranger"].read_text(), "signals are for the group")

    def ear(self, user: str) -> pathlib.Path:
        """Where it is written what `user` hears on the bus of bob's machine from now on."""
        heard = self.bob.root / f"var/log/ear-{user}"
        output = f"--property=StandardOutput=file:/var/log/ear-{user}"
        listen = ["stdbuf", "--output=L", "dbus-monitor", "--system", "type='signal'"]
        self.bob.well("systemd-run", f"--unit=ear-{user}", f"--uid={user}", output, *listen)
        self.addCleanup(self.bob, "systemctl", "stop", f"ear-{user}.service")
        # Its own arrival is the first that it hears.
        eventually(lambda: heard.exists() and "NameAcquired" in heard.read_text(), self.bob.journal)
        return heard

    def test_12_what_a_person_must_start_waits_for_one(self):
        running = Running(self.fleet, "asked")
        self.alice.well("systemctl", "start", "mpyc-session@asked.service")
        for party in (self.bob, self.carol):
            eventually(lambda: sessions(party)["asked"] == "proposed", party.journal)
            self.assertEqual(party.property("mpyc-session@asked.service", "ActiveState"), "inactive")
            self.assertEqual(call(party, "member", "Approve", "asked").stderr, "")
        self.completes(running)

    def test_13_the_group_starts_and_stops_sessions_and_nothing_else(self):
        for user, verb, unit, allowed in [
            ("member", "start", "mpyc-session@asked", True),
            ("member", "stop", "mpyc-session@asked", True),
            ("mpyc-party", "start", "mpyc-session@asked", True),
            ("mpyc-party", "stop", "mpyc-session@asked", True),
            ("member", "kill", "mpyc-session@asked", False),
            ("member", "stop", "mpyc-party", False),
            ("stranger", "start", "mpyc-session@asked", False),
        ]:
            with self.subTest(f"{user} {verb} {unit}"):
                done = self.alice("systemctl", "--no-ask-password", verb, f"{unit}.service", user=user)
                self.assertEqual(done.returncode == 0, allowed, done.stderr)
        self.alice("systemctl", "reset-failed")

    def test_14_only_the_agent_has_its_name_on_the_bus(self):
        bus = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"]
        # 4: do not wait for it. 3: somebody has it.
        want = ["busctl", "call", *bus, "RequestName", "su", "org.mpyc.Party1", "4"]
        self.assertEqual(self.bob.well(*want, user="mpyc-party"), "u 3\n")
        for user in ("member", "stranger"):
            self.assertIn("Access denied", self.bob(*want, user=user).stderr)

    def test_15_metrics_are_served(self):
        read = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/mpyc-party/metrics.sock');"
            "s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())"
        )
        told = self.alice.well("python3", "-c", read)
        self.assertIn("mpyc_party_hubs_up 1\n", told)
        self.assertTrue(told.endswith("# EOF\n\n"), told)

    def test_16_the_status_comes_from_the_agent_for_who_may_ask_it(self):
        show = ["mpyc-party", "--json", "status"]
        told = json.loads(self.alice.well(*show, user="member"))
        self.assertEqual((told["party"], told["agent"]["hubs"]), ("alice", {fleet.HUB: "up"}))
        sessions = {one["name"]: one for one in told["agent"]["sessions"]}
        self.assertEqual((sessions["demo"]["start"], sessions["demo"]["state"]), ("on-proposal", "idle"))
        self.assertIn("session demo: idle", self.alice.well("mpyc-party", "status", user="member"))
        own = [*show, "--state", fleet.STATE]
        told = json.loads(self.alice.well(*own, user="mpyc-party"))
        self.assertEqual((told["party"], told["agent"]["port"]), ("alice", 4747))
        self.assertIn("is not enrolled", self.alice(*show, user="stranger").stdout)

    def test_17_a_new_configuration_is_taken_up_and_a_bad_one_is_refused_with_the_reason(self):
        file, agent = self.bob.root / "etc/mpyc-party/config.toml", "mpyc-party.service"
        good = file.read_text()
        self.addCleanup(self.bob, "systemctl", "restart", agent)
        self.addCleanup(file.write_text, good)
        file.write_text(good.replace('"asked"', '"later"'))
        self.bob.well("systemctl", "reload", agent)
        eventually(lambda: "later" in sessions(self.bob), self.bob.journal)
        self.assertNotIn("asked", sessions(self.bob))
        # An error in the section of one session would concern that session alone.
        file.write_text('max-rums = 1\n' + good)
        self.bob.well("systemctl", "reload", agent)
        stays = "the old configuration stays: "
        eventually(lambda: stays in self.bob.property(agent, "StatusText"), self.bob.journal)
        self.assertIn("max-rums", call(self.bob, "member", "Reload").stderr)
        self.assertIn("later", sessions(self.bob))
        # Whoever comes to the agent's sockets starts it again, and this one would.
        self.bob.well("systemctl", "stop", "mpyc-party-expose.service")
        self.assertNotEqual(self.bob("systemctl", "restart", agent).returncode, 0)
        self.assertEqual(self.bob.property(agent, "ActiveState"), "failed")
        self.assertEqual(self.bob.property(agent, "ExecMainStatus"), "2")
        self.assertIn("max-rums", self.bob("systemctl", "status", "--no-pager", "--full", agent).stdout)
        # Who knocks starts it again, a few times; then the port is shut, until somebody starts it.
        knock = "import socket; socket.create_connection(('127.0.0.1', 4747))"
        self.bob("python3", "-c", knock)
        why = "service-start-limit-hit"
        eventually(lambda: self.bob.property(SOCKETS[0], "Result") == why, self.bob.journal)
        self.assertNotEqual(self.bob("python3", "-c", knock).returncode, 0)
        file.write_text(good)
        self.bob.well("systemctl", "reset-failed", agent)
        self.bob.well("systemctl", "restart", agent)
        self.assertEqual(self.bob.well("systemctl", "is-active", *SOCKETS), "active\n" * 2)
        self.assertIn("asked", sessions(self.bob))

    def test_18_a_hub_that_is_away_keeps_no_neighbours_apart(self):
        agent = "mpyc-party.service"
        self.alice.well("systemctl", "stop", agent)
        self.hub.well("systemctl", "stop", "mpyc-party-hub.service")
        self.alice.well("systemctl", "start", "--no-block", agent)
        waits = "hubs reached: 0 of 1"
        eventually(lambda: waits in self.alice.property(agent, "StatusText"), self.alice.journal)
        running = Running(self.fleet, "demo")
        for party in self.fleet.parties:
            party.well("systemctl", "start", "mpyc-session@demo.service")
        self.completes(running)
        self.assertEqual(self.alice.property(agent, "ActiveState"), "activating")
        self.hub.well("systemctl", "start", "mpyc-party-hub.service")
        for party in self.fleet.parties:
            self.reaches_the_hub(party)

    def test_19_an_exposed_port_is_reached_by_those_who_may_and_the_journal_knows(self):
        unit = "mpyc-party-expose.service"
        for party in self.fleet.parties:
            eventually(lambda: party("systemctl", "is-active", unit).stdout == "active\n", party.journal)
        serve = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", "/opt/programs", "8080"]
        self.bob.well("systemd-run", "--unit=notes", *serve)
        self.addCleanup(self.bob, "systemctl", "stop", "notes.service")
        eventually(lambda: 8080 in self.fleet.network.listening("bob"), self.bob.journal)
        connect = ["mpyc-party", "--state", fleet.STATE, "connect", "bob", "8080"]
        ask = {"user": "mpyc-party", "input": "GET /secret_santa.py HTTP/1.0\r\n\r\n"}
        self.assertIn("from mpyc.runtime import mpc", self.alice.well(*connect, **ask))
        refused = self.carol(*connect, **ask)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""), refused.stderr)
        told = [entry["MESSAGE"] for entry in self.bob.entries("MPYC_PEER=alice", f"_SYSTEMD_UNIT={unit}")]
        self.assertTrue(any("notes" in line for line in told), f"{told}\n{self.bob.journal()}")

    def listen(self, port: int) -> None:
        """Gives bob another port."""
        own = re.compile(r'^("port" = |ListenStream=)(4747|4800|443)$', re.MULTILINE)
        for path in ("etc/mpyc-party/config.toml", "etc/systemd/system/mpyc-party.socket"):
            file = self.bob.root / path
            file.write_text(own.sub(rf"\g<1>{port}", file.read_text()))
        self.bob.well("systemctl", "daemon-reload")
        # More starts than within seconds are allowed.
        self.bob("systemctl", "reset-failed", "mpyc-party.service")
        # As a switch does, which leaves sockets as they are. The agent itself may not have every port.
        if port >= 1024:
            self.bob.well("systemctl", "restart", "mpyc-party.service")
            self.is_served(port)
        self.bob.well("systemctl", "restart", "mpyc-party.socket")
        self.is_served(port)

    def test_20_another_port_is_served_after_a_switch_and_systemd_can_have_it_back(self):
        self.reaches_the_hub(self.bob)
        self.addCleanup(self.listen, 4747)
        self.listen(4800)

    def test_21_an_input_that_root_alone_reads_comes_to_the_run_and_goes_with_it(self):
        running = Running(self.fleet, "secret")
        self.assertNotEqual(self.alice("cat", "/root/secret", user="mpyc-party").returncode, 0)
        self.alice.well("systemctl", "start", "mpyc-session@secret.service")
        self.completes(running)
        unit = "mpyc-session@secret.service"
        for party in self.fleet.parties:
            eventually(lambda: party.property(unit, "ActiveState") == "inactive", party.journal)
            self.assertIn("the sum is 42", party.journal("MPYC_SESSION=secret"))
            self.assertNotEqual(party("test", "-e", f"/run/credentials/{unit}").returncode, 0)

    def test_22_a_timer_starts_a_session(self):
        timer = "mpyc-session@timed.timer"
        running = Running(self.fleet, "timed")
        self.assertIn("-01-01 00:00:00", self.alice.property(timer, "NextElapseUSecRealtime"))
        soon = self.alice.root / f"etc/systemd/system/{timer}.d/soon.conf"
        soon.parent.mkdir()
        soon.write_text("[Timer]\nOnActiveSec=1s\n")
        self.alice.well("systemctl", "daemon-reload")
        self.alice.well("systemctl", "restart", timer)
        self.completes(running)

    def test_23_a_port_that_only_root_may_have_leaves_udp_to_another(self):
        self.reaches_the_hub(self.bob)
        self.addCleanup(self.listen, 4747)
        self.listen(443)
        running = Running(self.fleet, "demo")
        self.alice.well("systemctl", "start", "mpyc-session@demo.service")
        self.completes(running)
        told = self.bob.well("journalctl", "--output=cat", "--no-pager", "--unit=mpyc-session@demo")
        self.assertIn("listening on port 443", told)
        self.assertNotIn("no UDP", told)

    def test_24_exposure_is_small(self):
        for machine, unit, most in [
            (self.alice, "mpyc-party", 15),
            (self.alice, "mpyc-session@demo", 30),
            (self.alice, "mpyc-session@secret", 30),
            (self.alice, "mpyc-party-expose", 15),
            (self.hub, "mpyc-party-hub", 15),
        ]:
            machine.well("systemd-analyze", "security", f"--threshold={most}", f"{unit}.service")


if __name__ == "__main__":
    unittest.main()
