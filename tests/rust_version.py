#!/usr/bin/env python3
"""Compares the Rust that mpyc-party says it needs with the Rust that its dependencies need."""

import json
import pathlib
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parent.parent
# Where readers are told which Rust is needed.
PAGES = ("README.md", "docs/introduction.md")
SYSTEMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")


def metadata() -> dict:
    command = ["cargo", "metadata", "--format-version=1", "--locked"]
    command += [f"--filter-platform={system}" for system in SYSTEMS]
    return json.loads(subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout)


def built(data: dict) -> set[str]:
    """The packages that a build of the workspace takes: all but those that only its tests need."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    found, ahead = set(), list(data["workspace_members"])
    while ahead:
        package = ahead.pop()
        if package not in found:
            found.add(package)
            dependencies = nodes[package]["deps"]
            ahead += [one["pkg"] for one in dependencies if any(k["kind"] != "dev" for k in one["dep_kinds"])]
    return found


def number(version: str) -> tuple[int, ...]:
    """A version to compare with others: 1.89 is 1.89.0."""
    parts = [int(part) for part in version.split(".")]
    return *parts, *[0] * (3 - len(parts))


def main() -> int:
    data = metadata()
    packages = {package["id"]: package for package in data["packages"]}
    ours = min((packages[id]["rust_version"] for id in data["workspace_members"]), key=number)
    needs = [packages[id] for id in built(data) if packages[id]["rust_version"]]
    needs.sort(key=lambda package: (number(package["rust_version"]), package["name"]))
    found = [
        f"{one['name']} {one['version']} needs Rust {one['rust_version']}, and Cargo.toml says that {ours} is "
        f"enough: raise rust-version there, or use an older {one['name']}"
        for one in needs
        if number(one["rust_version"]) > number(ours)
    ]
    for page in PAGES:
        if f"Rust {ours}" not in (PROJECT / page).read_text():
            found.append(f"{page} does not say that Rust {ours} is needed, as Cargo.toml does")
    if found:
        print(*found, sep="\n")
        return 1
    strictest = next(one for one in reversed(needs) if one["source"])
    print(f"Rust {ours} is enough; {strictest['name']} {strictest['version']} needs {strictest['rust_version']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
