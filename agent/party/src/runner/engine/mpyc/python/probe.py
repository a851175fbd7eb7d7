"""Report as JSON what this interpreter is, what it can import, and which files that takes.

Run with `-I -c`. Must parse and run on any Python from 3.10 on; prints nothing but the report.
"""

import importlib
import json
import os
import sys
import sysconfig

report_to = os.dup(1)
os.dup2(2, 1)  # what packages print on import must not end up in the report


def loader(executable):
    """The dynamic loader named by an ELF file (its PT_INTERP segment, see elf(5)), else None."""
    with open(executable, "rb") as file:
        data = file.read()
    if data[:4] != b"\x7fELF":
        return None
    wide = data[4] == 2

    def number(at, size):
        return int.from_bytes(data[at : at + size], "little" if data[5] == 1 else "big")

    table = number(32, 8) if wide else number(28, 4)
    size, count = (number(54, 2), number(56, 2)) if wide else (number(42, 2), number(44, 2))
    for entry in range(table, table + size * count, size):
        if number(entry, 4) == 3:
            at = number(entry + 8, 8) if wide else number(entry + 4, 4)
            length = number(entry + 32, 8) if wide else number(entry + 16, 4)
            return data[at : at + length].rstrip(b"\0").decode()
    return None


def package(name, *modules):
    """Import a package and say its version and file, or why it cannot be imported."""
    try:
        for module in modules:
            importlib.import_module(module)
        found = importlib.import_module(name)
        return {"version": str(found.__version__), "file": found.__file__}
    except ModuleNotFoundError as error:
        absent = error.name == name
        return {"error": "it is not installed" if absent else str(error), "installed": not absent}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}", "installed": True}


extras = {name: package(name) for name in ("uvloop", "gmpy2", "numpy")}
mpyc = package("mpyc", "mpyc.runtime", "mpyc.seclists", "mpyc.statistics")

# Extension modules of the standard library bring shared libraries of their own.
for name in ("ssl", "ctypes", "hashlib", "decimal", "zlib", "bz2", "lzma", "uuid", "sqlite3"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass

mapped = set()
with open("/proc/self/maps", "rb") as maps:
    for line in maps:
        columns = line.split(None, 5)
        if len(columns) == 6 and columns[5].startswith(b"/"):
            mapped.add(os.fsdecode(columns[5].rstrip(b"\n")))

paths = sysconfig.get_paths()
# A checkout that was installed to be edited is on no path.
packages = [os.path.dirname(found["file"]) for found in (mpyc, *extras.values()) if found.get("file")]
executable = os.path.realpath(sys.executable)
report = {
    "executable": sys.executable,
    "version": sys.version.split()[0],
    "implementation": sys.implementation.name,
    "pointer_bits": sys.maxsize.bit_length() + 1,
    "mpyc": mpyc,
    "extras": extras,
    "prefixes": sorted({sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}),
    "imported_from": sorted({paths["stdlib"], paths["platstdlib"], *filter(None, sys.path), *packages}),
    "mapped": sorted(path for path in mapped if os.path.isfile(path) and path != executable),
    "loader": loader(executable),
}
with open(report_to, "w") as out:
    json.dump(report, out)
