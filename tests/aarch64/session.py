"""What mpyc-party does on AArch64: commands, enrolment, sessions with parties on x86-64, every way out
of the sandbox, and the ciphers of a processor without AES. Run by `tests/aarch64/run`."""

import pathlib
import tempfile
import unittest

import ciphers
import parties
from machine import ADDRESS, HOST, Machine
from parties import NAMES, Party, Together

NO_AES = "LD_PRELOAD=/usr/local/lib-no-aes.so "
HOME = "/home/party"


def lines(output: str) -> list[str]:
    """What the program printed, without what MPyC logs."""
    words = ("The richest", "arrays")
    return [line[line.index(word):] for line in output.splitlines() for word in words if word in line]


class Aarch64(unittest.TestCase):
    """In the order of their names, as each goes on from where the last one ended."""

    @classmethod
    def setUpClass(cls):
        parties.network()
        cls.directory = tempfile.TemporaryDirectory()
        cls.place = place = pathlib.Path(cls.directory.name)
        cls.hub = Party(place, "hub")
        cls.hub("ca", "init", "--network", "mixed")
        cls.hub.serve()
        cls.others = {"bob": Party(place, "bob", 7), "carol": Party(place, "carol", 3)}
        for name, party in cls.others.items():
            party("enroll", feed=cls.hub.token(name))
        cls.machine = Machine()
        cls.addClassCleanup(cls.machine.stop)
        programs = {name: f"{HOME}/{name}.py" for name in parties.PROGRAMS}
        for name, path in programs.items():
            cls.machine.put(path, parties.PROGRAMS[name].read_text())
        cls.machine.put(f"{HOME}/wealth", "5\n")
        cls.machine.put(f"{HOME}/.config/mpyc-party/config.toml",
                        parties.configuration("/usr/bin/python3", programs, f"{HOME}/wealth"))

    @classmethod
    def tearDownClass(cls):
        cls.hub.process.kill()
        cls.hub.process.communicate()
        cls.directory.cleanup()

    def alice(self, command: str, **more):
        return self.machine(command, user=True, **more)

    def test_1_starts_and_checks_a_configuration(self):
        self.assertEqual(self.machine("uname -m")[1], "aarch64\n")
        self.assertRegex(self.alice("mpyc-party --version")[1], r"^mpyc-party \d")
        self.alice("mpyc-party config check")
        self.machine.put("/home/party/wrong.toml", "[sessions.demo]\nprogramm = 'x'\n")
        status, _, complaint = self.alice("mpyc-party config check /home/party/wrong.toml", check=False)
        self.assertEqual(status, 2, complaint)
        self.assertIn("programm", complaint)

    def test_2_enrols_with_a_hub_on_x86_64(self):
        self.machine.put(f"{HOME}/token", self.hub.token("alice"))
        self.alice(f"mpyc-party enroll --token-file {HOME}/token")
        self.assertIn("alice", self.alice("mpyc-party status")[1])

    def meet(self, session: str, environment: str = "") -> list[str]:
        """All three run the session; what the program printed, the same everywhere."""
        run = ("session", "run", session)
        ran = Together(
            alice=lambda: self.alice(f"{environment}mpyc-party {' '.join(run)}")[1],
            **{name: lambda party=party: party(*run) for name, party in self.others.items()},
        ).all()
        for name in NAMES:
            self.assertIsInstance(ran[name], str, f"{name}: {ran}")
        printed = [lines(ran[name]) for name in NAMES]
        self.assertEqual(len(printed[0]), 1, ran)
        self.assertEqual(printed, [printed[0]] * 3)
        return printed[0]

    def test_3_session_with_private_inputs(self):
        self.assertEqual(self.meet("millionaires"), ["The richest is party 1."])

    def test_4_session_with_numpy_and_without_aes(self):
        self.assertEqual(self.meet("arrays", NO_AES), ["arrays [[126, 288], [288, 693]]"])

    def seen_between(self, hub: str, enrol) -> tuple[str, str]:
        """The ciphers offered first and chosen when somebody enrols at this hub."""
        with ciphers.listen() as listener:
            done = Together(seen=lambda: ciphers.seen_between(listener, hub), enrolled=enrol).all()
        self.assertNotIsInstance(done["enrolled"], Exception, done)
        return done["seen"]

    def test_5_offers_first_what_the_processor_is_good_at(self):
        for name, environment, cipher in (("dave", "", ciphers.AES), ("erin", NO_AES, ciphers.CHACHA)):
            self.machine.put(f"{HOME}/{name}.token", self.hub.token(name, f"{HOST}:{ciphers.PORT}"))
            enrol = f"mpyc-party --state {HOME}/{name} enroll --token-file {HOME}/{name}.token"
            seen = self.seen_between(HOST, lambda: self.alice(environment + enrol))
            self.assertEqual(seen, (cipher, cipher))

    def test_6_chooses_what_the_processor_is_good_at(self):
        """An authority and hub on AArch64, at which parties on x86-64 enrol, who offer AES first."""
        authority = f"mpyc-party --state {HOME}/authority "
        self.alice(f"{authority} ca init --network small")
        for name, environment, cipher in (("dave", "", ciphers.AES), ("erin", NO_AES, ciphers.CHACHA)):
            hub = f"{HOST}:{ciphers.PORT}"
            token = self.alice(f"{authority} ca token --name {name} --hub {hub}")[1]
            self.alice(f"{environment}{authority} hub >{HOME}/said 2>&1 & echo $! >{HOME}/pid\n"
                       f"until grep -q 'serves on' {HOME}/said; do sleep 0.1; done")
            party = Party(self.place, name)
            seen = self.seen_between(ADDRESS, lambda: party("enroll", feed=token))
            self.assertEqual(seen, (ciphers.AES, cipher))
            self.alice(f"kill $(cat {HOME}/pid)")

    def test_7_nothing_gets_out_of_the_sandbox(self):
        """By the tests of the sandbox that run on this machine too."""
        said = self.machine("sandbox-tests --test-threads 2", limit=1800)[1]
        result = next(line for line in said.splitlines() if line.startswith("test result"))
        self.assertRegex(result, r" [1-9]\d\d passed; 0 failed")
        print(result)


if __name__ == "__main__":
    unittest.main(verbosity=2, failfast=True)
