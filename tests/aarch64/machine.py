"""An emulated AArch64 machine, which does what it is asked over its serial line."""

import base64
import pathlib
import subprocess
import threading
import time

WORK = pathlib.Path(__file__).resolve().parents[2] / "target/aarch64"
ADDRESS = "10.77.0.2"
HOST = "10.77.0.1"
# An ordinary user, with nothing of root's.
AS_USER = ("setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all "
           "env --ignore-environment PATH=/usr/local/bin:/usr/bin HOME=/home/party ")
STARTS_WITHIN = 300


class Failed(Exception):
    """A command ended with another status than 0."""


class Machine:
    """The core of a Raspberry Pi 4, twice, with Debian's kernel; its files are in memory."""

    def __init__(self):
        self.turn = threading.Lock()
        self.said: list[str] = []
        self.process = subprocess.Popen(
            ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "2048",
             "-kernel", WORK / "vmlinuz", "-initrd", WORK / "image.cpio", "-append", "quiet loglevel=1",
             "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
             "-netdev", "tap,id=lan,ifname=tap0,script=no,downscript=no",
             "-device", "virtio-net-pci,netdev=lan,romfile="],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        watch = threading.Timer(STARTS_WITHIN, self.process.kill)
        watch.start()
        self.read("ready")
        watch.cancel()
        # Like a Pi it has no clock that runs while it is off.
        self(f"date --utc --set=@{int(time.time())}")
        # Python keeps what it compiles, which takes half a minute here, beside the modules: root may.
        self("python3 -c 'import asyncio, mpyc.numpy, uvloop'")
        self("install -d -o 1000 -g 1000 -m 0700 /home/party")

    def read(self, word: str) -> list[str]:
        """The rest of the next line that begins with this word."""
        for line in self.process.stdout:
            text = line.decode(errors="replace").rstrip("\r\n")
            if text.split(" ")[0] == word:
                return text.split(" ")[1:]
            self.said.append(text)
        raise RuntimeError("the emulated machine has ended; it said:\n" + "\n".join(self.said))

    def __call__(self, command: str, user: bool = False, limit: int = 300, check: bool = True):
        """Runs a shell's command for at most so many seconds; the exit status, and what it printed on
        standard output and on standard error."""
        shell = f"{AS_USER if user else ''}timeout {limit} sh <<'END_OF_COMMAND'\n{command}\nEND_OF_COMMAND\n"
        with self.turn:
            self.process.stdin.write(base64.b64encode(shell.encode()) + b"\n")
            self.process.stdin.flush()
            status, *texts = self.read("answer")
        output, complaint = (base64.b64decode(text).decode(errors="replace") for text in texts)
        if check and status != "0":
            raise Failed(f"«{command}» ended with status {status}:\n{output}{complaint}")
        return int(status), output, complaint

    def put(self, path: str, text: str) -> None:
        """Writes a file that belongs to the ordinary user."""
        code = base64.b64encode(text.encode()).decode()
        self(f"umask 077; mkdir -p $(dirname {path}); echo {code} | base64 --decode > {path}", user=True)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
