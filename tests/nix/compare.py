#!/usr/bin/env python3
"""Compares what the real NixOS makes of the cases (JSON on standard input) with what the stand-in
makes of them. Store paths are compared by name alone."""

import json
import re
import sys

import module

STORE = re.compile(r"/nix/store/[a-z0-9]{32}-([a-z.-]*[a-z])[^/\" ]*")


def plain(value):
    """Store paths without hash and version; the stand-in names packages by their files."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str):
        names = {"package.nix": "mpyc-party", "python.nix": "python"}
        return STORE.sub(lambda found: "STORE/" + names.get(found[1], found[1]), value)
    return value


def differences(place: str, real, ours):
    """What the stand-in says and the real one does not. NixOS adds settings of its own."""
    if isinstance(ours, dict) and isinstance(real, dict):
        for key, value in ours.items():
            yield from differences(f"{place}.{key}", real.get(key), value)
    elif isinstance(ours, list) and isinstance(real, list):
        if not all(one in real for one in ours):
            yield f"{place}: {ours} against {real}"
    elif isinstance(ours, str) and isinstance(real, str):
        if ours not in real:
            yield f"{place}: {ours!r} against {real!r}"
    elif real != ours:
        yield f"{place}: {ours!r} against {real!r}"


def main() -> int:
    real = plain(json.load(sys.stdin))
    found = list(differences("cases", real, plain(module.described())))
    for case in real["accepted"].values():
        found += [f"assertion fails: {message}" for message in case["failed"]]
        found += [f"warning: {message}" for message in case["warnings"]]
    print("\n".join(found) or "the stand-in and NixOS agree in every case")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
