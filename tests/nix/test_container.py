"""The module's units under the real systemd: a hub with its authority and a party in one container,
two more parties as processes beside them."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import container
import module

HUB = "127.0.0.1:4748"
OTHERS = ("bob", "carol")


def eventually(what, seconds: float = 60):
    """The first true answer of `what`."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > end:
            raise AssertionError("it did not happen in time")
        time.sleep(0.1)
    return answer


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if reason := container.why_not():
            cls.skip(reason)
        directory = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        case = module.described()["accepted"]["hub-and-party"]
        cls.settings = case["settings"] | {
            "network": {"hubs": [HUB]},
            "python": {"interpreter": container.PYTHON},
            "sessions": {
                "demo": {
                    "program": "/opt/secret_santa.py",
                    "parties": ["alice", *OTHERS],
                    "deadline": "1m",
                }
            },
        }
        shutil.copy(module.PROJECT / "programs/secret_santa.py", container.template() / "opt")
        try:
            cls.machine = container.Container(case, cls.settings, directory)
        except container.NoContainer as reason:
            cls.skip(reason)
        cls.addClassCleanup(cls.machine.stop)
        reach = f"exec 3<>/dev/tcp/{HUB.replace(':', '/')}"
        eventually(lambda: cls.machine("bash", "-c", reach).returncode == 0)
        for name in OTHERS:
            cls.join(name)

    @classmethod
    def skip(cls, reason: object) -> None:
        print(f"\nNOT TESTED: the units under a real systemd ({reason})", file=sys.stderr)
        raise unittest.SkipTest(str(reason))

    @classmethod
    def well(cls, *command: object, **more) -> str:
        done = cls.machine(*command, **more)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}{cls.journal()}")
        return done.stdout

    @classmethod
    def journal(cls) -> str:
        return cls.machine("journalctl", "--boot", "--output=cat", "--no-pager").stdout[-4000:]

    @classmethod
    def token(cls, name: str) -> str:
        ca = ["mpyc-party", "--state", "/var/lib/mpyc-party-hub", "ca"]
        return cls.well(*ca, "token", "--name", name, "--hub", HUB, user="mpyc-party-hub")

    @classmethod
    def join(cls, name: str) -> None:
        """Enrols a party that is an ordinary user of the machine."""
        cls.well("useradd", "--create-home", name)
        state = ["mpyc-party", "--state", f"/home/{name}/state"]
        cls.well(*state, "enroll", user=name, input=cls.token(name))
        # Any free port: this one is the unit's.
        own = cls.settings | {"listen": {"port": 0}}
        cls.machine.write(f"home/{name}/config.toml", module.toml(own))

    def test_1_nothing_fails_before_there_is_a_token(self):
        self.assertEqual(self.well("systemctl", "--failed", "--no-legend"), "")
        self.assertEqual(self.machine("systemctl", "is-active", "mpyc-party.service").stdout, "inactive\n")
        self.assertEqual(self.machine("systemctl", "is-active", "mpyc-party.socket").stdout, "inactive\n")
        self.well("systemctl", "is-active", "mpyc-party-hub.service")

    def test_2_a_token_that_arrives_is_taken_and_starts_the_agent(self):
        put = "umask 077; cat > /run/token.new; mv /run/token.new /run/mpyc-party.token"
        self.well("sh", "-c", put, input=self.token("alice"))
        invoked = ["systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "--value", "mpyc-party.service"]
        eventually(lambda: self.well(*invoked).strip() != "0")
        self.assertNotEqual(self.machine("test", "-e", "/run/mpyc-party.token").returncode, 0)
        self.well("systemctl", "is-active", "mpyc-party.socket", "mpyc-party-runners.socket")
        mode = self.well("stat", "-c", "%a %U", "/run/mpyc-party/agent.sock")
        self.assertEqual(mode, "600 mpyc-party\n")

    def test_3_a_session_completes_in_its_unit(self):
        self.enrol_by_hand()
        others = [self.beside(name) for name in OTHERS]
        self.well("systemctl", "start", "--wait", "mpyc-session@demo.service", timeout=120)
        self.assertIn("completed", self.story())
        for other in others:
            self.assertEqual(other.wait(30), 0)

    def test_4_a_session_that_is_stopped_has_failed_and_says_why(self):
        searches = self.story().count("looking for")
        self.well("systemctl", "start", "mpyc-session@demo.service")
        eventually(lambda: self.story().count("looking for") > searches)
        self.well("systemctl", "stop", "mpyc-session@demo.service")
        self.assertIn("the session was stopped there", self.story())
        self.machine("systemctl", "reset-failed")

    def test_5_the_group_starts_sessions_and_nothing_else(self):
        self.well("usermod", "--append", "--groups", "mpyc-party", "bob")
        for user, verb, unit, allowed in [
            ("bob", "start", "mpyc-session@demo", True),
            ("bob", "stop", "mpyc-session@demo", True),
            ("mpyc-party", "start", "mpyc-session@demo", True),
            ("mpyc-party", "stop", "mpyc-session@demo", True),
            ("bob", "kill", "mpyc-session@demo", False),
            ("bob", "stop", "mpyc-party-hub", False),
            ("carol", "start", "mpyc-session@demo", False),
        ]:
            with self.subTest(f"{user} {verb} {unit}"):
                ask = ["systemctl", "--no-ask-password", verb, f"{unit}.service"]
                done = self.machine(*ask, user=user, timeout=60)
                self.assertEqual(done.returncode == 0, allowed, done.stderr)

    def test_6_exposure_is_small(self):
        for unit, most in [("mpyc-party", 15), ("mpyc-party-hub", 15), ("mpyc-session@demo", 30)]:
            self.well("systemd-analyze", "security", f"--threshold={most}", f"{unit}.service")

    def story(self) -> str:
        """What the journal tells of the session."""
        return self.well("journalctl", "--output=cat", "--unit=mpyc-session@demo.service")

    def test_7_only_the_agent_has_its_name_on_the_bus(self):
        bus = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"]
        ask = ["busctl", "--system", "call", *bus, "RequestName", "su", "org.mpyc.Party1", "0"]
        self.well("systemctl", "stop", "mpyc-party.service", "mpyc-party.socket", "mpyc-party-runners.socket")
        self.assertEqual(self.well(*ask, user="mpyc-party"), "u 1\n")
        self.assertIn("Access denied", self.machine(*ask, user="bob").stderr)

    def enrol_by_hand(self) -> None:
        """As long as the token lies there, what the agent does with it."""
        token = "/var/lib/mpyc-party/token"
        if self.machine("test", "-e", token).returncode == 0:
            state = ["mpyc-party", "--state", "/var/lib/mpyc-party"]
            self.well("systemctl", "stop", "mpyc-party.service", "mpyc-party.socket", "mpyc-party-runners.socket")
            self.well(*state, "enroll", "--token-file", token, user="mpyc-party")

    def beside(self, name: str):
        """The session, run by an ordinary user of the machine."""
        home = f"/home/{name}"
        return subprocess.Popen(
            ["nsenter", "-t", self.machine.init, "-a", "runuser", "-u", name, "--", "mpyc-party",
             "--config", f"{home}/config.toml", "--state", f"{home}/state", "session", "run", "demo"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    unittest.main()
