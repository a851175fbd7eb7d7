"""The other machine: a hub and parties of this architecture, in a network with the emulated one."""

import os
import pathlib
import subprocess
import threading

from machine import HOST

BINARY = os.environ["MPYC_PARTY"]
PYTHON = os.environ["MPYC_PARTY_TEST_PYTHON"]
HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = {"millionaires": HERE.parents[1] / "programs/millionaires.py", "arrays": HERE / "arrays.py"}
NAMES = ["alice", "bob", "carol"]
PATIENCE = 300


def network() -> None:
    """A network card of this machine that leads to the emulated one."""
    for words in ("link set lo up", "tuntap add tap0 mode tap", f"address add {HOST}/24 dev tap0",
                  "link set tap0 up"):
        subprocess.run(["ip", *words.split()], check=True)


def configuration(python: object, programs: dict, wealth: object) -> str:
    """A party's configuration, with both sessions."""
    text = f'[network]\nlocal-discovery = false\n[python]\ninterpreter = "{python}"\n'
    for name, program in programs.items():
        text += f'[sessions.{name}]\nprogram = "{program}"\nparties = {NAMES}\ndeadline = "3m"\n'
        text += f'input = "{wealth}"\n' if name == "millionaires" else ""
    return text.replace("'", '"')


class Party:
    """A party, or the hub, with a state of its own."""

    def __init__(self, directory: pathlib.Path, name: str, wealth: int = 0):
        self.place = directory / name
        self.place.mkdir()
        (self.place / "wealth").write_text(f"{wealth}\n")
        text = configuration(PYTHON, PROGRAMS, self.place / "wealth")
        (self.place / "config.toml").write_text(text)

    def command(self, *words: str) -> list:
        return [BINARY, "--config", self.place / "config.toml", "--state", self.place / "state", *words]

    def __call__(self, *words: str, feed: str = "") -> str:
        """Runs a command; what it prints on standard output."""
        done = subprocess.run(self.command(*words), input=feed, capture_output=True, text=True,
                              timeout=PATIENCE)
        if done.returncode != 0:
            raise RuntimeError(f"{words} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def serve(self) -> None:
        """Serves as the hub, and returns once it does."""
        self.process = subprocess.Popen(self.command("hub"), stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        said = ""
        for line in self.process.stdout:
            said += line
            if "serves on" in line:
                return
        raise RuntimeError(f"the hub does not serve: {said}")

    def token(self, name: str, hub: str = f"{HOST}:4747") -> str:
        return self("ca", "token", "--name", name, "--hub", hub)


class Together:
    """Several things done at the same time, each by a thread."""

    def __init__(self, **tasks):
        self.results: dict = {}
        self.threads = [threading.Thread(target=self.do, args=item) for item in tasks.items()]
        for thread in self.threads:
            thread.start()

    def do(self, name: str, task) -> None:
        try:
            self.results[name] = task()
        except Exception as error:  # shown with the others' results
            self.results[name] = error

    def all(self) -> dict:
        for thread in self.threads:
            thread.join()
        return self.results
