#!/usr/bin/env python3
"""Looks for circles of imports between Rust files of different folders.

Files of one folder may use each other, and so may `links.rs` and the files in `links/`. Where a folder and
its neighbour do, neither can be understood, or tested, without the other.
"""

import pathlib
import re
import sys

PROJECT = pathlib.Path(__file__).resolve().parent.parent

COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
TESTS = re.compile(r"^#\[cfg\(test\)\]\s*mod tests \{.*", re.MULTILINE | re.DOTALL)
USE = re.compile(r"\buse ((?:crate|super|self)\b[^;]*);")
INLINE = re.compile(r"\b((?:crate|super)::(?:\w+::)*\w+)")

Module = tuple[str, ...]


def modules(source: pathlib.Path) -> dict[Module, str]:
    """What the files say that are in the product, by their modules' paths."""
    found = {}
    for file in sorted(source.rglob("*.rs")):
        path = file.relative_to(source).with_suffix("").parts
        if "tests" in path or path == ("main",):
            continue
        module = () if path == ("lib",) else path
        found[module] = TESTS.sub("", COMMENT.sub("", file.read_text()))
    return found


def leaves(tree: str) -> list[str]:
    """`a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`."""
    tree = tree.strip()
    match = re.fullmatch(r"(.*?)\{(.*)\}", tree, re.DOTALL)
    if not match:
        return [tree.split(" as ")[0].strip()]
    head, body = match.groups()
    parts, depth = [""], 0
    for character in body:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [leaf for part in parts if part.strip() for leaf in leaves(head + part.strip())]


def named(path: str, module: Module, known: dict[Module, str]) -> Module:
    """The module in which that is which `path` names in `module`."""
    steps, base = path.split("::"), list(module)
    if steps[0] == "crate":
        base = []
    while steps and steps[0] in ("crate", "self", "super"):
        if steps.pop(0) == "super":
            base = base[:-1]
    full = tuple(base + steps)
    return next(full[:length] for length in range(len(full), -1, -1) if full[:length] in known)


def paths(module: Module, text: str, known: dict[Module, str]) -> list[str]:
    """What a module imports, and what it says with a path; of its own submodules' names, those it uses."""
    submodules = [other[-1] for other in known if other and other[:-1] == module]
    used = [f"self::{name}" for name in submodules if re.search(rf"(?<![:\w]){name}::", text)]
    return [leaf for tree in USE.findall(text) for leaf in leaves(tree)] + INLINE.findall(text) + used


def imports(known: dict[Module, str]) -> dict[Module, set[Module]]:
    """Which modules each uses."""
    return {
        module: {named(path, module, known) for path in paths(module, text, known)} - {module}
        for module, text in known.items()
    }


def reached(start: Module, uses: dict[Module, set[Module]]) -> set[Module]:
    seen: set[Module] = set()
    left = [start]
    while left:
        new = uses[left.pop()] - seen
        seen |= new
        left.extend(new)
    return seen


def circles(uses: dict[Module, set[Module]]) -> list[list[Module]]:
    """Modules that use each other, however indirectly."""
    reach = {module: reached(module, uses) for module in uses}
    found = {frozenset(other for other in reach[one] if one in reach[other]) for one in uses}
    return sorted(sorted(circle) for circle in found if len(circle) > 1)


def across_folders(uses: dict[Module, set[Module]]) -> list[list[Module]]:
    """Circles of modules side by side, each with all in its folder, one of which has a folder."""
    found = []
    folders = {module[:-1] for module in uses if module}
    for folder in sorted(folders):
        depth = len(folder) + 1
        inside = [module for module in uses if len(module) >= depth and module[: depth - 1] == folder]
        whole = {module[:depth]: set() for module in inside}
        for module in inside:
            whole[module[:depth]] |= {used[:depth] for used in uses[module] if used[:depth] in whole}
        for circle in circles({module: used - {module} for module, used in whole.items()}):
            if folders.intersection(circle):
                found.append(circle)
    return found


def main() -> int:
    complaints, files = [], 0
    for source in sorted(PROJECT.glob("agent/*/src")):
        known = modules(source)
        files += len(known)
        for circle in across_folders(imports(known)):
            names = ", ".join("::".join(module) for module in circle)
            complaints.append(f"{source.relative_to(PROJECT)}: these use each other in a circle: {names}")
    print("\n".join([*complaints, f"{files} files, {len(complaints)} circles of imports across folders"]))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
