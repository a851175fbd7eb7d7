#!/usr/bin/env python3
"""Parses every Nix file with the real parser and looks for what a reader would stumble over. Uses
deadnix and nixfmt as well where they are installed: Debian has neither."""

import pathlib
import re
import shutil
import subprocess
import sys

import module

WIDEST = 110
LONGEST = 250


def files() -> list[pathlib.Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.nix"]
    listed = subprocess.run(command, cwd=module.PROJECT, capture_output=True, text=True, check=True)
    return [module.PROJECT / name for name in listed.stdout.split()]


def parsed(path: pathlib.Path):
    done = subprocess.run(["nix-instantiate", "--parse", path], capture_output=True, text=True)
    if done.returncode != 0:
        yield 1, done.stderr.strip()


def unused(text: str):
    """Names of the function at a file's head that occur nowhere else."""
    head = re.search(r"^\{([^{}]*)\}:\n", text, re.MULTILINE)
    if head is None:
        return
    body = text[head.end() :]
    for name in re.findall(r"(?:^|,)\s*([a-z][\w'-]*)", re.sub(r"\?[^,]*", "", head[1])):
        if not re.search(rf"(?<![\w'.-]){re.escape(name)}(?![\w'-])", body):
            yield text[: head.start()].count("\n") + 1, f"the argument {name} is not used"


def style(text: str):
    lines = text.splitlines()
    if not text.startswith("#") and not text.startswith("{\n  description ="):
        yield 1, "the file does not begin by saying what it is"
    if len(lines) > LONGEST:
        yield len(lines), f"more than {LONGEST} lines"
    for number, line in enumerate(lines, 1):
        if "\t" in line or line != line.rstrip():
            yield number, "a tab, or blanks at the end"
        if len(line) > WIDEST:
            yield number, f"wider than {WIDEST}"
        if re.search(r"\bwith (lib|pkgs|builtins|types)\s*;", line):
            yield number, "«with»: say where names come from"
    if not text.endswith("\n"):
        yield len(lines), "no newline at the end"


def main() -> int:
    found = 0
    paths = files()
    for path in paths:
        text = path.read_text()
        for number, message in [*parsed(path), *unused(text), *style(text)]:
            print(f"{path.relative_to(module.PROJECT)}:{number}: {message}")
            found += 1
    for tool in (["deadnix", "--fail"], ["nixfmt", "--check"]):
        if shutil.which(tool[0]) is None:
            print(f"{tool[0]} is not installed: not checked with it")
        elif subprocess.run([*tool, *paths]).returncode != 0:
            found += 1
    print(f"{len(paths)} Nix files, {found} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
