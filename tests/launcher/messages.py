"""Messages between parties, made by hand. Imported by the checks that run in the parties' interpreter."""

import io
import pathlib
import pickle
import sys

LAUNCHER = pathlib.Path(__file__).resolve().parents[2] / 'agent/party/src/runner/engine/mpyc/launcher'
sys.path.insert(0, str(LAUNCHER))

START = b'\x80\x03'


def plain(value):
    """The message with plain data, as far as the launcher writes it as such."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 3)
    pickler.fast = True
    pickler.dump(value)
    return file.getvalue()


def inner(value):
    """The opcodes of a value within a message; bytes are such opcodes already."""
    return value if type(value) is bytes else plain(value)[len(START):-1]


def identifier(*parts):
    """The opcodes of a persistent identifier with these parts, plain or given as their opcodes."""
    return b'(' + b''.join(map(inner, parts)) + b'tQ'


def message(opcodes):
    return START + opcodes + b'.'
