"""What the module makes of the cases, for the tests: evaluated, written down, looked at."""

import json
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent


def nix(expression: str):
    """The value of a Nix expression, evaluated without a store."""
    command = ["nix-instantiate", "--store", "dummy://", "--eval", "--strict", "--json", "--show-trace", "-E"]
    done = subprocess.run(command + [expression], cwd=HERE, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def described():
    """What the stand-in makes of all cases."""
    return nix("import ./describe.nix { inherit (import ./stand-in/system.nix) system; }")


def agent() -> pathlib.Path:
    """The real binary."""
    named = os.environ.get("MPYC_PARTY")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target"))
    places = [named] if named else [target / f"{kind}/mpyc-party" for kind in ("debug", "release")]
    for place in map(pathlib.Path, places):
        if place.is_file():
            return place.resolve()
    raise FileNotFoundError("no mpyc-party: cargo build, or name it in $MPYC_PARTY")


def toml(value: dict, prefix: str = "") -> str:
    """A configuration as TOML."""
    plain = {k: v for k, v in value.items() if not isinstance(v, dict)}
    text = "".join(f"{json.dumps(k)} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in plain.items())
    for key, inner in value.items():
        if isinstance(inner, dict):
            place = f"{prefix}{json.dumps(key)}"
            text += f"[{place}]\n" + toml(inner, place + ".")
    return text


def lines(key: str, value) -> str:
    """One setting of a unit, a list over several lines."""
    if isinstance(value, list):
        return "".join(lines(key, one) for one in value)
    word = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    return f"{key}={word}\n"


def section(name: str, settings: dict) -> str:
    body = "".join(lines(key, value) for key, value in settings.items())
    return f"[{name}]\n{body}\n" if body else ""


UNIT = {
    "after": "After",
    "before": "Before",
    "description": "Description",
    "documentation": "Documentation",
    "onSuccess": "OnSuccess",
    "requires": "Requires",
    "wants": "Wants",
}


def unit(attributes: dict, script: pathlib.Path | None = None) -> str:
    """The text of a unit as NixOS writes it."""
    head = {UNIT[key]: value for key, value in attributes.items() if key in UNIT}
    service = dict(attributes.get("serviceConfig", {}))
    service |= {"Environment": [f"{k}={v}" for k, v in attributes.get("environment", {}).items()]}
    if script:
        service["ExecStart"] = str(script)
    socket = dict(attributes.get("socketConfig", {}))
    socket |= {"ListenStream": attributes.get("listenStreams", [])}
    install = {
        "WantedBy": attributes.get("wantedBy", []),
        "RequiredBy": attributes.get("requiredBy", []),
    }
    return (
        section("Unit", head | attributes.get("unitConfig", {}))
        + section("Service", service)
        + section("Socket", socket)
        + section("Path", attributes.get("pathConfig", {}))
        + section("Timer", attributes.get("timerConfig", {}))
        + section("Install", install)
    )


KINDS = [("services", "service"), ("sockets", "socket"), ("paths", "path"), ("timers", "timer")]


def place(name: str, extension: str, attributes: dict) -> str:
    """The file of a unit, or of what is added to one."""
    added = attributes.get("overrideStrategy") == "asDropin"
    return f"{name}.{extension}" + (".d/overrides.conf" if added else "")


def tmpfiles(settings: dict) -> str:
    """A file for systemd-tmpfiles."""
    return "".join(
        f"{kind} {path} {one['mode']} {one['user']} {one['group']} -\n"
        for path, kinds in settings.items()
        for kind, one in kinds.items()
    )


def write_units(case: dict, directory: pathlib.Path) -> list[pathlib.Path]:
    """Writes a case's units into a directory, with the real binary in the place of packages."""
    programs = directory / "bin"
    programs.mkdir()
    (programs / "mpyc-party").symlink_to(agent())
    (programs / "kill").symlink_to(shutil.which("kill"))
    written = []
    for kind, extension in KINDS:
        for name, attributes in case[kind].items():
            script = None
            if "script" in attributes:
                script = directory / f"{name}-start"
                script.write_text("#!/bin/sh -e\n" + attributes["script"])
                script.chmod(0o755)
            text = unit(attributes, script)
            for word in text.split():
                start = word.split("=", 1)[-1]
                if start.startswith("/nix/store/") and "/bin/" in start:
                    text = text.replace(start, str(programs / pathlib.PurePath(start).name))
            path = directory / place(name, extension, attributes)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            if path.parent == directory:
                written.append(path)
    return written
