#!/usr/bin/env python3
"""Follows every relative link of the pages, and looks whether the files that they name exist and the book
in docs/ is complete."""

import fnmatch
import functools
import pathlib
import re
import subprocess
import sys
import urllib.parse

PROJECT = pathlib.Path(__file__).resolve().parent.parent
BOOK = PROJECT / "docs"
SUMMARY = BOOK / "SUMMARY.md"

FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)
INLINE = re.compile(r"\]\(\s*<?([^)>\s]+)>?[^)]*\)")
DEFINITION = re.compile(r"^ *\[([^\]]+)\]: +(\S+)", re.MULTILINE)
# What a page calls a file: «`agent/net/src/dial.rs`», or short «`net/dial.rs`» or «`dial.rs`».
NAME = re.compile(r"`([\w.*-]+(?:/[\w.*-]+)*)/?`")
# Folders of whose files pages speak by the whole path. Those of hosts/ are for readers to make.
FOLDERS = ("agent", "docs", "images", "modules", "programs", "terraform", "tests")
# Written by tests, with examples of what others may have.
GENERATED = ("commands.md", "options.md")
# No file has this name: what is said of it has to be found.
SPECIMEN = "`hub/supervision.rs`"

REFERENCE = re.compile(r"\]\[([^\]]+)\]")


def pages() -> list[pathlib.Path]:
    return [page for where in ("*.md", "docs/**/*.md", "programs/*.md") for page in sorted(PROJECT.glob(where))]


def blanked(match: re.Match) -> str:
    """As many lines, with nothing in them."""
    return "\n" * match[0].count("\n")


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mdBook make them."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(FENCE.sub(blanked, page.read_text())):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
    return {f"{anchor}-{again}" if again else anchor for anchor, most in found.items() for again in range(most + 1)}


def links(text: str):
    """The line and the target of each link of a page, and of each reference that leads nowhere."""
    text = CODE.sub(blanked, FENCE.sub(blanked, text))
    defined = {name.lower() for name, _ in DEFINITION.findall(text)}
    for match in [*INLINE.finditer(text), *DEFINITION.finditer(text)]:
        yield text.count("\n", 0, match.start()) + 1, match[match.lastindex]
    for match in REFERENCE.finditer(text):
        if match[1].lower() not in defined:
            yield text.count("\n", 0, match.start()) + 1, f"[{match[1]}]"


def wrong(page: pathlib.Path, target: str) -> str | None:
    """Why a link leads nowhere, if so. What is on the web is not looked at."""
    if target.startswith("["):
        return f"{target} is defined nowhere on this page"
    parts = urllib.parse.urlsplit(target)
    if parts.scheme:
        return None
    place = (page.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else page
    if not place.is_relative_to(PROJECT) or not place.exists():
        return f"{target} does not exist"
    if page.is_relative_to(BOOK) and not (place.is_file() and place.is_relative_to(BOOK)):
        return f"{target} is no page of the book: name it without a link"
    if parts.fragment and parts.fragment not in anchors(place):
        return f"{target}: that page has no heading #{parts.fragment}"
    return None


@functools.cache
def places() -> frozenset[str]:
    """Every file and folder of the project, and short names of crates: net/dial.rs for agent/net/src/dial.rs."""
    listed = ["git", "-C", PROJECT, "ls-files", "--cached", "--others", "--exclude-standard"]
    files = map(pathlib.PurePath, subprocess.check_output(listed, text=True).splitlines())
    all_places = {place for file in files for place in (file, *file.parents)}
    short = {re.sub(r"^agent/(\w+)/src/", r"\1/", place.as_posix()) for place in all_places}
    return frozenset(short | {place.as_posix() for place in all_places})


def unknown(text: str):
    """The line of each name that looks like a file of the project, and is none, with why."""
    text = FENCE.sub(blanked, text)
    for match in NAME.finditer(text):
        name = match[1]
        ours = name.endswith((".rs", ".py")) or ("/" in name and name.split("/")[0] in FOLDERS)
        # NAME.rs is for the reader to name.
        if not ours or re.search(r"\b[A-Z]+\b(?!\.md)", name):
            continue
        if not any(fnmatch.filter(places(), pattern) for pattern in (name, f"*/{name}")):
            yield text.count("\n", 0, match.start()) + 1, f"{name} is named, and does not exist"


def left_out():
    """Pages that the book lacks, or has twice."""
    targets = [(BOOK / target).resolve() for _, target in links(SUMMARY.read_text())]
    for page in sorted(BOOK.glob("**/*.md")):
        if page != SUMMARY and (times := targets.count(page)) != 1:
            yield f"{page.relative_to(BOOK)} is listed {times} times: it belongs there once"


def main() -> int:
    found = [
        f"{page.relative_to(PROJECT)}:{line}: {reason}"
        for page in pages()
        for line, target in links(page.read_text())
        if (reason := wrong(page, target))
    ]
    found += [
        f"{page.relative_to(PROJECT)}:{line}: {reason}"
        for page in pages()
        if page.name not in (*GENERATED, "CHANGELOG.md")
        for line, reason in unknown(page.read_text())
    ]
    if not list(unknown(SPECIMEN)):
        found.append(f"tests/docs.py: {SPECIMEN} is not found to be missing")
    found += [f"{SUMMARY.relative_to(PROJECT)}: {reason}" for reason in left_out()]
    print(*found, f"{len(pages())} pages, {len(found)} complaints", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
