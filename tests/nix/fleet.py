"""A hub with its authority and three parties, each a machine of its own in a network namespace on one
bridge. They are given what the module makes of the cases in fleet.nix, and nothing else."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

import container
import module
from container import Machine, Tree, eventually, run, well

NAMES = ("alice", "bob", "carol")
HUB = "hub:4747"
# Where the module is told to look for a token.
TOKEN = "boot/firmware/mpyc-party.token"
STATE = "/var/lib/mpyc-party"
PROGRAMS = [module.PROJECT / "programs/secret_santa.py", *sorted(module.HERE.glob("programs/*.py"))]


class Whole(contextlib.ExitStack):
    """What has many parts and is taken down as a whole, also where it could not be completed."""

    def __init__(self, *arguments):
        super().__init__()
        try:
            self.make(*arguments)
        except BaseException:
            self.close()
            raise


class Network(Whole):
    """Namespaces on one bridge, which itself is in a namespace: nothing of it touches this machine."""

    def make(self, names: list[str]) -> None:
        self.addresses = {name: f"10.47.0.{number}" for number, name in enumerate(names, 1)}
        self.add("bridge")
        self.ip("bridge", "link", "add", "bridge", "type", "bridge")
        self.ip("bridge", "link", "set", "bridge", "up")
        for name, address in self.addresses.items():
            self.add(name)
            peer = ("peer", "name", "eth0", "netns", self.name(name))
            self.ip("bridge", "link", "add", name, "type", "veth", *peer)
            self.ip("bridge", "link", "set", name, "master", "bridge", "up")
            self.ip(name, "address", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                self.ip(name, "link", "set", link, "up")

    def add(self, name: str) -> None:
        # What fails leaves the name behind.
        self.callback(run, "ip", "netns", "del", self.name(name))
        done = run("ip", "netns", "add", self.name(name))
        if done.returncode != 0:
            raise container.NoContainer(done.stderr.strip())

    def name(self, name: str) -> str:
        return f"mpyc-party-test-{os.getpid()}-{name}"

    def ip(self, name: str, *words: str) -> None:
        well("ip", "-n", self.name(name), *words)

    def path(self, name: str) -> pathlib.Path:
        return pathlib.Path("/run/netns") / self.name(name)

    def listening(self, name: str) -> set[int]:
        """The TCP ports on which something listens there, for others than the machine itself."""
        lines = well("ip", "netns", "exec", self.name(name), "ss", "-Hltn").splitlines()
        return {int(line.split()[3].rsplit(":", 1)[1]) for line in lines}


class Fleet(Whole):
    """All machines, running; alice is not enrolled yet."""

    def make(self) -> None:
        self.directory = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        # Also where the directory for temporary files is an overlay already, as in containers.
        done = run("mount", "-t", "tmpfs", "-o", "size=2g", "mpyc-party-test", self.directory)
        if done.returncode != 0:
            raise container.NoContainer(done.stderr.strip())
        self.callback(run, "umount", self.directory)
        self.network = self.enter_context(Network(["hub", *NAMES]))
        cases = module.described()["accepted"]
        images = {kind: self.image(kind, cases[f"fleet-{kind}"]) for kind in ("hub", "party")}
        self.hub = self.machine("hub", images["hub"])
        self.hub.start()
        self.hub.booted()
        # Each by another of the ways in which a token gets to a machine: alice's comes while she runs.
        tokens = {name: self.token(name) for name in NAMES}
        self.alice = self.machine("alice", images["party"])
        self.late = tokens["alice"]
        self.bob = self.machine("bob", images["party"], there=tokens["bob"])
        self.carol = self.machine("carol", images["party"], credential=tokens["carol"])
        self.parties = [self.alice, self.bob, self.carol]
        for party in self.parties:
            party.start()
        for party in self.parties:
            party.booted()

    def image(self, kind: str, case: dict) -> pathlib.Path:
        """What machines of a kind have in common."""
        with Tree(self.directory / f"image-{kind}", container.template()) as tree:
            container.install(tree, case)
            hosts = "".join(f"{address} {name}\n" for name, address in self.network.addresses.items())
            tree.write("etc/hosts", "127.0.0.1 localhost\n" + hosts)
            tree.write("root/secret", "14", 0o600)
            (tree.root / "boot/firmware").mkdir()
            (tree.root / "opt/programs").mkdir()
            for program in PROGRAMS:
                shutil.copy(program, tree.root / "opt/programs")
            if kind == "party":
                tree.chroot("useradd", "--groups", "mpyc-party", "member")
                tree.chroot("useradd", "stranger")
            return tree.layer

    def machine(self, name: str, image: pathlib.Path, there: str = "", credential: str = "") -> Machine:
        tree = self.enter_context(Tree(self.directory / name, image, container.template()))
        if there:
            tree.write(TOKEN, there, 0o600)
        credentials = {}
        if credential:
            credentials["mpyc-party.token"] = self.directory / name / "credential"
            credentials["mpyc-party.token"].write_text(credential)
        machine = Machine(name, tree, self.network.path(name), credentials)
        self.callback(machine.stop)
        return machine

    def token(self, name: str) -> str:
        return self.hub.well("mpyc-party-as-hub", "ca", "token", "--name", name, "--hub", HUB)


def records(machine: Machine, session: str) -> list[dict]:
    """The records of the runs of a session, oldest first."""
    paths = sorted((machine.root / STATE[1:] / "runs").glob("*/record.json"))
    every = [json.loads(path.read_text()) for path in paths]
    return sorted((one for one in every if one["session"] == session), key=lambda one: one["started"])


def ask(machine: Machine, name: str):
    """A property of the agent on the bus."""
    place = ["org.mpyc.Party1", "/org/mpyc/Party1", "org.mpyc.Party1"]
    return json.loads(machine.well("busctl", "--json=short", "get-property", *place, name))["data"]


def call(machine: Machine, user: str, method: str, *arguments: str):
    """A method of the agent on the bus."""
    place = ["org.mpyc.Party1", "/org/mpyc/Party1", "org.mpyc.Party1"]
    signature = ["s" * len(arguments)] if arguments else []
    return machine("busctl", "call", *place, method, *signature, *arguments, user=user)


def sessions(machine: Machine) -> dict[str, str]:
    """What each session does, as the agent tells."""
    return {name: what for name, _, what, _ in ask(machine, "Sessions")}


def is_ready(machine: Machine) -> bool:
    """Whether the agent has said that it does its work."""
    return machine("systemctl", "is-active", "mpyc-party.service").stdout.strip() == "active"


class Running:
    """A run of a session on all parties, from its start on one of them."""

    def __init__(self, fleet: Fleet, session: str):
        self.fleet, self.session = fleet, session
        # What was run before has to be over, or it is no proposal.
        eventually(lambda: all(sessions(one)[session] == "idle" for one in fleet.parties), self.why)
        self.before = {one.name: len(records(one, session)) for one in fleet.parties}

    def why(self) -> str:
        return "\n".join(f"── {one.name}\n{one.journal()}" for one in self.fleet.parties)

    def newest(self) -> list[dict]:
        """The record of this run at each party that has one."""
        every = [(one.name, records(one, self.session)) for one in self.fleet.parties]
        return [found[-1] for name, found in every if len(found) > self.before[name]]

    def verdicts(self) -> list:
        """How it ended, at each party; all of them had the same run."""

        def ended():
            found = self.newest()
            return len(found) == len(NAMES) and all(one["verdict"] for one in found) and found

        found = eventually(ended, self.why)
        runs = {one["run"] for one in found}
        if len(runs) != 1 or None in runs:
            raise AssertionError(f"not the same run: {runs}\n{self.why()}")
        return [one["verdict"] for one in found]


class Patient(Running):
    """A run of a program that computes until `finish` is called."""

    def __init__(self, fleet: Fleet, session: str = "patient"):
        super().__init__(fleet, session)
        self.signal(False)
        heard = {one.name: self.computing(one) for one in fleet.parties}
        fleet.alice.well("systemctl", "start", f"mpyc-session@{session}.service")
        for one in fleet.parties:
            eventually(lambda: self.computing(one) > heard[one.name], self.why)

    def computing(self, machine: Machine) -> int:
        """How often the program has written that it computes."""
        told = machine.entries(f"MPYC_SESSION={self.session}")
        return sum(entry["MESSAGE"] == "computing" for entry in told)

    def signal(self, enough: bool) -> None:
        for one in self.fleet.parties:
            [packages] = (one.root / "opt/mpyc/lib").glob("python3.*/site-packages")
            if enough:
                (packages / "enough").touch()
            else:
                (packages / "enough").unlink(missing_ok=True)

    def finish(self) -> list:
        self.signal(True)
        return self.verdicts()
