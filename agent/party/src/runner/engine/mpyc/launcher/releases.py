"""Which MPyC there is: a release that this launcher knows, or another.

A version is what a package says of itself, and two trees may say the same. So a release is known by a digest
of its files, and parties compare that digest. It is taken before any of these files runs.
"""

import hashlib
import importlib.machinery
import importlib.util
import os
import re
import sys

# By the digest of its files (the wheel and the source distribution have the same).
KNOWN = {
    'd3a8fa0a1c4a33255d11016d810d3f972cd2b48c381903c5631edf4d7ca502ae': '0.11',
}
SUFFIXES = tuple(importlib.machinery.all_suffixes())  # of what an import would run
CACHE = '__pycache__'
MAX_DEPTH = 8  # directories in directories: a link may lead back


class Release:
    """The MPyC that `import mpyc` would bring in."""

    def __init__(self):
        spec = importlib.util.find_spec('mpyc')
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("No module named 'mpyc'")
        self.directory = os.path.dirname(spec.origin)
        self.digest = digest(self.directory)
        with open(spec.origin, encoding='utf-8', errors='replace') as file:
            said = re.search(r"^__version__ = ['\"]([^'\"]{1,40})['\"]$", file.read(), re.MULTILINE)
        self._written = said[1] if said else 'of an unknown version'

    @staticmethod
    def compile_anew():
        """Have Python compile the files of MPyC: what it compiled before is not in the digest."""
        if _Anew not in sys.meta_path:
            sys.meta_path.insert(0, _Anew)

    @property
    def version(self):
        """What it says of itself, once it is loaded or else in its text."""
        return mpyc.__version__ if (mpyc := sys.modules.get('mpyc')) else self._written

    @property
    def is_known(self):
        return self.digest in KNOWN and KNOWN[self.digest] == self.version


class _Anew:
    """Finds MPyC's modules as ever, and has them loaded from their text."""

    class Loader(importlib.machinery.SourceFileLoader):
        def get_code(self, fullname):
            path = self.get_filename(fullname)
            return self.source_to_code(self.get_data(path), path)

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition('.')[0] != 'mpyc':
            return None
        for finder in sys.meta_path:
            if finder is not cls and (spec := finder.find_spec(name, path, target)):
                if type(spec.loader) is importlib.machinery.SourceFileLoader:
                    spec.loader = cls.Loader(spec.loader.name, spec.loader.path)
                return spec
        return None


def digest(directory):
    """SHA-256 over the files that make the package, each with its path, but for what Python compiled of them."""
    total = hashlib.sha256()
    for path in sorted(_files(directory, ''), key=os.fsencode):
        with open(os.path.join(directory, path), 'rb') as file:
            content = hashlib.sha256(file.read()).digest()
        name = os.fsencode(path)
        total.update(len(name).to_bytes(8, 'little') + name + content)
    return total.hexdigest()


def _files(directory, below):
    """The paths, below the package, of all files that an import would run."""
    place = os.path.join(directory, below)
    for entry in os.scandir(place):
        path = os.path.join(below, entry.name)
        if entry.is_dir():
            if path.count(os.sep) > MAX_DEPTH:
                raise OSError(f'{place} is more than {MAX_DEPTH} directories deep')
            if entry.name != CACHE:
                yield from _files(directory, path)
        elif entry.name.endswith(SUFFIXES):
            yield path
