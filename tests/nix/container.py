"""A machine with systemd, D-Bus, polkit and journald in a container. Its root is an overlay over a
template that is made once; what it writes stays for as long as the test."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import module

TEMPLATE = module.PROJECT / "target/container"
PACKAGES = "dbus,libpam-systemd,polkitd,procps,python3,python3-venv,systemd-sysv"
PINS = module.PROJECT / "agent/party/src/runner/engine/mpyc/python/requirements.txt"
# What the sandbox of a session needs and systemd-nspawn of Debian 12 does not know.
CALLS = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
# The exit status of systemd-nspawn where the machine wants to be started again.
REBOOT = 133
# Far longer than anything here takes, in seconds.
PATIENCE = 90


def run(*command: object, **more) -> subprocess.CompletedProcess:
    more = {"capture_output": True, "text": True} | more
    return subprocess.run([str(word) for word in command], **more)


def well(*command: object, **more) -> str:
    """What a command says that must succeed."""
    done = run(*command, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def eventually(what, why=lambda: "", seconds: float = PATIENCE):
    """The first true answer of `what`; `why` says what is wrong where there is none."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > end:
            raise AssertionError(f"it did not happen in {seconds} s\n{why()}")
        time.sleep(0.05)
    return answer


class NoContainer(Exception):
    """This machine does not let containers start."""


def why_not() -> str | None:
    """Why there can be no container here, if so."""
    if os.geteuid() != 0:
        return "only root may start containers"
    for tool in ("debootstrap", "ip", "nsenter", "systemd-nspawn"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return None


def template() -> pathlib.Path:
    """A Debian with systemd and a Python that runs MPyC, made once for each recipe."""
    recipe, ready = PACKAGES + PINS.read_text(), TEMPLATE / "ready"
    if not ready.exists() or ready.read_text() != recipe:
        shutil.rmtree(TEMPLATE, ignore_errors=True)
        TEMPLATE.mkdir(parents=True)
        include = f"--include={PACKAGES},ca-certificates"
        done = run("debootstrap", "--variant=minbase", include, "trixie", TEMPLATE)
        if done.returncode != 0:
            raise NoContainer(f"debootstrap: {done.stdout[-500:]}{done.stderr[-500:]}")
        for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
            shutil.copy(f"/{name}", TEMPLATE / name)
        shutil.copy(PINS, TEMPLATE / "opt/pins.txt")
        well("chroot", TEMPLATE, "python3", "-m", "venv", "/opt/mpyc")
        well("chroot", TEMPLATE, "/opt/mpyc/bin/pip", "install", "--require-hashes", "-r", "/opt/pins.txt")
        (TEMPLATE / "etc/machine-id").write_text("")
        ready.write_text(recipe)
    return TEMPLATE


class Tree:
    """The root of a machine: what is written stays in a layer of its own, over those below."""

    def __init__(self, directory: pathlib.Path, *below: pathlib.Path):
        self.layer, self.root = directory / "layer", directory / "root"
        for one in (self.layer, directory / "work", self.root):
            one.mkdir(parents=True)
        lower = ":".join(map(str, below))
        options = f"lowerdir={lower},upperdir={self.layer},workdir={directory / 'work'}"
        done = run("mount", "-t", "overlay", "-o", options, "mpyc-party-test", self.root)
        if done.returncode != 0:
            raise NoContainer(done.stderr.strip())

    def chroot(self, *command: object) -> str:
        return well("chroot", self.root, *command)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        well("umount", self.root)


def in_place(text: str) -> str:
    """A unit with programs where this machine has them."""
    text = re.sub(r"/nix/store/[^/ ]*/bin/mpyc-party", "/usr/local/bin/mpyc-party", text)
    return re.sub(r"/nix/store/[^/ ]*/bin/", "/usr/bin/", text)


def install(tree: Tree, case: dict) -> None:
    """The units, accounts, rules and configuration that the module makes of a case."""
    shutil.copy(module.agent(), tree.root / "usr/local/bin/mpyc-party")
    tree.write("etc/mpyc-party/config.toml", module.toml(case["settings"]))
    tree.write("etc/polkit-1/rules.d/10-mpyc-party.rules", case["polkit"])
    tree.write("etc/dbus-1/system.d/org.mpyc.Party1.conf", "".join(case["bus"]))
    for user in case["users"]:
        tree.chroot("useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin",
                    "--home-dir", f"/var/lib/{user}", user)
    tree.write("etc/tmpfiles.d/mpyc-party.conf", module.tmpfiles(case["tmpfiles"]))
    for text in case["commands"]:
        tree.write("usr/local/bin/mpyc-party-as-hub", in_place(text), 0o755)
    units = "etc/systemd/system"
    for kind, extension in module.KINDS:
        for name, attributes in case[kind].items():
            script = None
            if "script" in attributes:
                script = pathlib.Path(f"/usr/local/lib/{name}-start")
                tree.write(str(script)[1:], "#!/bin/sh -e\n" + attributes["script"], 0o755)
            file = module.place(name, extension, attributes)
            tree.write(f"{units}/{file}", in_place(module.unit(attributes, script)))
            for key, link in [("wantedBy", "wants"), ("requiredBy", "requires")]:
                for other in attributes.get(key, []):
                    place = tree.root / units / f"{other}.{link}"
                    place.mkdir(exist_ok=True)
                    (place / f"{name}.{extension}").symlink_to(f"../{name}.{extension}")


class Machine:
    """A machine that is started and ended, in a network namespace that it is given."""

    def __init__(self, name: str, tree: Tree, namespace: pathlib.Path, credentials: dict[str, pathlib.Path]):
        self.name, self.root = name, tree.root
        self.console = tree.root.parent / "console"
        groups = pathlib.Path("/sys/fs/cgroup/unified")
        groups = groups if groups.is_dir() else pathlib.Path("/sys/fs/cgroup")
        self.group = groups / f"mpyc-party-test-{os.getpid()}-{name}"
        enter = f'echo $$ > {self.group}/cgroup.procs; exec "$@"'
        self.command = [
            "sh", "-c", enter, "sh", "systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot",
            f"--network-namespace-path={namespace}", f"--machine=mpyc-party-test-{os.getpid()}-{name}",
            f"--hostname={name}", "--resolv-conf=off", "--timezone=off", "--register=no", "--keep-unit",
            "--console=read-only", f"--system-call-filter={CALLS}",
            *(f"--load-credential={key}:{path}" for key, path in credentials.items()),
        ]
        self.process = self.init = None

    def start(self) -> None:
        """Starts it in a control group of its own; `booted` waits for it."""
        try:
            self.group.mkdir(exist_ok=True)
        except OSError as error:
            raise NoContainer(f"no control group: {error}") from error
        self.init = None
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}, start_new_session=True,
            )

    def booted(self) -> None:
        """Waits until systemd is done starting."""
        eventually(self.is_up, lambda: self.console.read_text(errors="replace"))

    def is_up(self) -> bool:
        if self.process.poll() is not None:
            raise NoContainer(f"systemd-nspawn: {self.console.read_text(errors='replace')}")
        children = run("pgrep", "--parent", self.process.pid).stdout.split()
        self.init = children[0] if children else None
        running = ("running", "degraded")
        return bool(children) and self("systemctl", "is-system-running").stdout.strip() in running

    def __call__(self, *command: object, user: str | None = None, **more) -> subprocess.CompletedProcess:
        """Runs a command inside."""
        switch = ["runuser", "-u", user, "--"] if user else []
        return run("nsenter", "-t", self.init, "-a", *switch, *command, **more)

    def well(self, *command: object, **more) -> str:
        """What a command says inside that must succeed."""
        done = self(*command, **more)
        if done.returncode != 0:
            words = " ".join(map(str, command))
            raise AssertionError(f"{self.name}: {words}: {done.stdout}{done.stderr}\n{self.journal()}")
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.well("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def journal(self, *matches: str) -> str:
        """The end of what the journal tells."""
        return self("journalctl", "--output=cat", "--no-pager", *matches).stdout[-6000:]

    def entries(self, *matches: str) -> list[dict]:
        """What the journal tells, with all fields."""
        lines = self.well("journalctl", "--output=json", "--no-pager", *matches).splitlines()
        return [json.loads(line) for line in lines]

    def reboot(self) -> None:
        """Starts the machine again from within, and waits until it is up."""
        self("systemctl", "reboot")
        status = self.process.wait(PATIENCE)
        if status != REBOOT:
            raise AssertionError(f"{self.name} does not reboot: systemd-nspawn ended with {status}")
        self.start()
        self.booted()

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for group in sorted(self.group.rglob("*/"), reverse=True):
            group.rmdir()
        self.group.rmdir()
