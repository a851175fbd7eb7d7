"""A machine with systemd, D-Bus, polkit and journald in a container, on which the units that the module
makes are installed. It has no network but its own loopback interface."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import module

TEMPLATE = module.PROJECT / "target/container"
PACKAGES = "dbus,libpam-systemd,polkitd,python3,python3-venv,systemd-sysv"
PYTHON = "/opt/mpyc/bin/python3"
PINS = module.PROJECT / "agent/party/src/runner/python/requirements.txt"
# What the sandbox of a session needs and systemd-nspawn of Debian 12 does not know.
CALLS = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"


def run(*command: object, **more) -> subprocess.CompletedProcess:
    more = {"capture_output": True, "text": True} | more
    return subprocess.run([str(word) for word in command], **more)


def why_not() -> str | None:
    """Why there can be no container here, if so."""
    if os.geteuid() != 0:
        return "only root may start containers"
    for tool in ("debootstrap", "systemd-nspawn"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return None


def template() -> pathlib.Path:
    """A Debian with systemd and a Python that runs MPyC, made once."""
    if not (TEMPLATE / "ready").exists():
        shutil.rmtree(TEMPLATE, ignore_errors=True)
        TEMPLATE.mkdir(parents=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES},ca-certificates", "trixie",
            TEMPLATE, check=True)
        for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
            shutil.copy(f"/{name}", TEMPLATE / name)
        shutil.copy(PINS, TEMPLATE / "opt/pins.txt")
        run("chroot", TEMPLATE, "python3", "-m", "venv", "/opt/mpyc", check=True)
        run("chroot", TEMPLATE, "/opt/mpyc/bin/pip", "install", "--require-hashes", "-r",
            "/opt/pins.txt", check=True)
        (TEMPLATE / "etc/machine-id").write_text("")
        (TEMPLATE / "ready").touch()
    return TEMPLATE


def in_place(text: str) -> str:
    """A unit with programs where this machine has them."""
    text = re.sub(r"/nix/store/[^/ ]*/bin/mpyc-party", "/usr/local/bin/mpyc-party", text)
    return re.sub(r"/nix/store/[^/ ]*/bin/", "/usr/bin/", text)


class NoContainer(Exception):
    """This machine does not let containers start."""


class Container:
    """A running machine with the units, accounts and rules of a case."""

    def __init__(self, case: dict, settings: dict, directory: pathlib.Path):
        self.root = directory / "root"
        run("cp", "--archive", "--reflink=auto", template(), self.root, check=True)
        self.install(case, settings)
        self.boot()

    def install(self, case: dict, settings: dict) -> None:
        shutil.copy(module.agent(), self.root / "usr/local/bin/mpyc-party")
        self.write("etc/mpyc-party/config.toml", module.toml(settings))
        self.write("etc/polkit-1/rules.d/10-mpyc-party.rules", case["polkit"])
        self.write("etc/dbus-1/system.d/org.mpyc.Party1.conf", "".join(case["bus"]))
        for user in case["users"]:
            run("chroot", self.root, "useradd", "--system", "--user-group", "--shell",
                "/usr/sbin/nologin", "--home-dir", f"/var/lib/{user}", user, check=True)
        run("chroot", self.root, "install", "-d", "-o", "mpyc-party", "-g", "mpyc-party", "-m", "0700",
            "/var/lib/mpyc-party", check=True)
        units = "etc/systemd/system"
        for kind, extension in [("services", "service"), ("sockets", "socket"), ("paths", "path")]:
            for name, attributes in case[kind].items():
                script = None
                if "script" in attributes:
                    script = pathlib.Path(f"/usr/local/lib/{name}-start")
                    self.write(str(script)[1:], "#!/bin/sh -e\n" + attributes["script"], 0o755)
                self.write(f"{units}/{name}.{extension}", in_place(module.unit(attributes, script)))
                for key, link in [("wantedBy", "wants"), ("requiredBy", "requires")]:
                    for other in attributes.get(key, []):
                        place = self.root / units / f"{other}.{link}"
                        place.mkdir(exist_ok=True)
                        (place / f"{name}.{extension}").symlink_to(f"../{name}.{extension}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def boot(self) -> None:
        """Starts it in a control group of its own, and waits until systemd is done starting."""
        groups = pathlib.Path("/sys/fs/cgroup/unified")
        groups = groups if groups.is_dir() else pathlib.Path("/sys/fs/cgroup")
        self.group = groups / f"mpyc-party-test-{os.getpid()}"
        self.group.mkdir(exist_ok=True)
        enter = f'echo $$ > {self.group}/cgroup.procs; exec "$@"'
        self.process = subprocess.Popen(
            ["sh", "-c", enter, "sh", "systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot",
             "--private-network", f"--machine=mpyc-party-test-{os.getpid()}", "--hostname=machine",
             "--register=no", "--keep-unit", "--console=read-only", f"--system-call-filter={CALLS}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}, start_new_session=True,
        )
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            found = run("pgrep", "--parent", self.process.pid).stdout.split()
            if found:
                self.init = found[0]
                if self("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.1)
        started = hasattr(self, "init")
        self.stop()
        said = self.process.stdout.read().decode()
        if not started:
            raise NoContainer(f"systemd-nspawn: {said}")
        raise RuntimeError(f"the container does not come up: {said}")

    def __call__(self, *command: object, user: str | None = None, **more) -> subprocess.CompletedProcess:
        """Runs a command inside."""
        switch = ["runuser", "-u", user, "--"] if user else []
        return run("nsenter", "-t", self.init, "-a", *switch, *command, **more)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for group in sorted(self.group.rglob("*/"), reverse=True):
            group.rmdir()
        self.group.rmdir()
