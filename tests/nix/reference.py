#!/usr/bin/env python3
"""Writes docs/options.md, the reference of the module's options, from the options themselves."""

import re

import module

FILE = module.PROJECT / "docs/options.md"

HEAD = """\
# Options of the NixOS module

Written by `tests/nix/reference.py` from `modules/`; a test fails where it is stale. Where no default
is given, mpyc-party's own default applies (see [configuration](configuration.md)).
"""


def nix(value) -> str:
    """A plain value as Nix."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list():
            return "[ " + " ".join(map(nix, value)) + " ]" if value else "[ ]"
        case dict():
            inner = " ".join(f"{key} = {nix(one)};" for key, one in value.items())
            return "{ " + inner + " }" if value else "{ }"
    return str(value)


def code(shown: dict) -> str:
    text = shown["code"].strip("\n") if "code" in shown else nix(shown["value"])
    return f"\n\n```nix\n{text}\n```" if "\n" in text else f" `{text}`"


def entry(option: dict) -> str:
    description = re.sub(r"\{option\}", "", option["description"]).strip()
    # A pattern would be read as a link.
    kind = re.sub(r"(matching the pattern )(.+)", r"\1`\2`", option["type"])
    parts = [f"## `{option['name']}`", description, f"*Type:* {kind}"]
    default = option.get("default")
    if default and default != {"value": None}:
        parts.append("*Default:*" + code(default))
    if "example" in option:
        parts.append("*Example:*" + code(option["example"]))
    return "\n\n".join(parts) + "\n"


def text() -> str:
    options = sorted(module.nix("import ./options.nix"), key=lambda option: option["name"])
    return HEAD + "".join("\n" + entry(option) for option in options)


if __name__ == "__main__":
    FILE.write_text(text())
