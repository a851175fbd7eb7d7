"""Renew the pins of the Python that runs MPyC: edit PINS, then

    python3 pin.py > requirements.txt

Needs pip 23.1 or newer and nothing else. The hashes are those that pip's configured package index
states for every wheel that an interpreter and platform below would choose; nothing is downloaded
but metadata. A package without a wheel for one of them ends the script with pip's own message.
"""

import json
import subprocess
import sys

CPYTHON = 'implementation_name == "cpython"'
MACHINES = ("x86_64", "aarch64")
MACHINE = "(" + " or ".join(f'platform_machine == "{m}"' for m in MACHINES) + ")"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.14t")
NEWEST = f'{CPYTHON} and {MACHINE} and python_version < "3.15"'

# (name, version, marker, the interpreters it is for). MPyC comes first: it is the one that must be
# there, and runs without the others. They are left out where no wheel is pinned.
PINS = (
    ("mpyc", "0.11", "", PYTHONS),
    ("uvloop", "0.23.0", NEWEST, PYTHONS),
    ("gmpy2", "2.3.2", NEWEST, PYTHONS),
    ("numpy", "2.4.6", NEWEST + ' and python_version >= "3.11"', PYTHONS[1:]),
    ("numpy", "2.2.6", f'{CPYTHON} and {MACHINE} and python_version == "3.10"', PYTHONS[:1]),
)


def platforms(machine):
    """The platform tags of one machine, a list for each C library."""
    yield [f"manylinux_2_{minor}_{machine}" for minor in (28, 27, 24, 17)] + [f"manylinux2014_{machine}"]
    yield [f"musllinux_1_{minor}_{machine}" for minor in (2, 1)]


def wheel(requirement, python, tags):
    """The SHA-256 of the wheel that pip would choose."""
    number = python.rstrip("t").replace(".", "")
    abis = [f"cp{number}t"] if python.endswith("t") else [f"cp{number}", "abi3"]
    options = [f"--platform={tag}" for tag in tags] + [f"--abi={abi}" for abi in abis + ["none"]]
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"),
        *("--no-deps", "--only-binary=:all:", "--target=unused", "--report=-"),
        *(f"--python-version={python.rstrip('t')}", *options, requirement),
    ]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return report["install"][0]["download_info"]["archive_info"]["hashes"]["sha256"]


def main():
    print("# Written by pin.py; do not edit by hand.")
    for name, version, marker, pythons in PINS:
        requirement = f"{name}=={version}"
        hashes = {
            wheel(requirement, python, tags)
            for python in pythons
            for machine in MACHINES
            for tags in platforms(machine)
        }
        lines = [requirement + (f" ; {marker}" if marker else "")]
        lines += [f"    --hash=sha256:{digest}" for digest in sorted(hashes)]
        print(" \\\n".join(lines))


if __name__ == "__main__":
    main()
