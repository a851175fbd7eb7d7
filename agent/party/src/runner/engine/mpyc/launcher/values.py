"""How values travel between parties: pickles in which no name means anything.

An ordinary pickle names classes and functions, and reading it calls them; whoever writes it runs
code where it is read. Here the reader refuses every name. What is not plain data travels as a
persistent identifier, a tuple of plain data that begins with its kind, and is rebuilt by the one
function for that kind, which checks what it is given. So the reader never holds anything callable,
nor a class, nor a numpy dtype, and pickle's opcodes that call and modify have nothing to work on.

All parties of a session run this file, so only it needs to read what it writes; they compare the
number of its format before they start. A peer that means ill can still crash this process (keys nested a million deep), as it can by any wrong share.
"""

import datetime
import decimal
import fractions
import functools
import io
import pickle
import re

from mpyc import fingroups, finfields, gfpx, gmpy
from mpyc.numpy import np

PLAIN = frozenset((type(None), bool, int, float, str, bytes, bytearray, tuple, list, dict, set, frozenset))
PROTOCOL = 5
# Rises with every change after which an older file could not read what this one writes, or would
# read something else, or the other way round.
FORMAT = 1
# A field that is new to this party has its modulus tested; a huge one would keep it busy for long.
MAX_PRIME_BITS = 4096
MAX_EXTENSION_BITS = 1024
NUMPY_DTYPE = re.compile(r'[<>|=]?[biufcSU]\d{1,9}')


class Refused(Exception):
    """A value that may not pass: the name it asked for, or what is wrong with it."""


def dumps(value):
    """Write a value; whatever its reader would refuse is refused here already."""
    written = io.BytesIO()
    try:
        _Writer(written, PROTOCOL).dump(value)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f'value that cannot be sent: {error!r}') from error
    return written.getvalue()


def loads(data):
    """Read a value written by `dumps`, here or by a peer that means ill."""
    try:
        return _Reader(data).load()
    except Refused:
        raise
    except Exception as error:
        raise Refused(f'malformed pickle: {error!r}') from error


class _Writer(pickle.Pickler):
    def persistent_id(self, value):
        return None if type(value) in PLAIN else _take_apart(value)


class _Plain(pickle.Unpickler):
    def find_class(self, module, name):
        raise Refused(f'{module}.{name}')


class _Reader(_Plain):
    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self._left = len(data)

    def persistent_load(self, identifier):
        kind, *parts = _of(tuple, identifier)
        if (rebuild := _REBUILD.get(_of(str, kind))) is None:
            raise Refused(kind)
        # A pickle can refer to the same part again and again; `dumps` writes each anew. Without this
        # count a short message could be rebuilt into arrays without end.
        self._left -= sum(map(_size, parts))
        if self._left < 0:
            raise ValueError('it unfolds to more than was sent')
        return rebuild(*parts)


def _size(part):
    """The least number of bytes that this part takes in a message."""
    if type(part) is int:
        return part.bit_length() // 8
    return len(part) if type(part) in (bytes, list) else 0


def _of(kind, *values):
    """The only value or all values, each exactly of this type."""
    for value in values:
        if type(value) is not kind:
            raise TypeError(f'{kind.__name__} expected, not {type(value).__name__}')
    return values if len(values) > 1 else values[0]


@functools.singledispatch
def _take_apart(value):
    """The kind of a value and the parts to rebuild it from."""
    kind = value if isinstance(value, type) or callable(value) else type(value)
    raise Refused(f'{kind.__module__}.{getattr(kind, "__qualname__", kind)}')


_REBUILD = {}


def _kind(name):
    """Register the function that rebuilds values of this kind."""
    def register(rebuild):
        _REBUILD[name] = rebuild
        return rebuild
    return register


# Python's own numbers and dates

_take_apart.register(complex, lambda value: ('complex', value.real, value.imag))
_take_apart.register(range, lambda value: ('range', value.start, value.stop, value.step))
_take_apart.register(decimal.Decimal, lambda value: ('decimal', str(value).encode()))
_take_apart.register(fractions.Fraction, lambda value: ('fraction', value.numerator, value.denominator))
_take_apart.register(datetime.date, lambda value: ('date', value.isoformat()))
_take_apart.register(datetime.time, lambda value: ('time', value.isoformat()))
_take_apart.register(datetime.datetime, lambda value: ('datetime', value.isoformat()))
_take_apart.register(datetime.timedelta, lambda value: ('timedelta', value.days, value.seconds, value.microseconds))

_kind('complex')(lambda *parts: complex(*_of(float, *parts)))
_kind('range')(lambda *parts: range(*_of(int, *parts)))
_kind('decimal')(lambda text: decimal.Decimal(_of(bytes, text).decode()))
_kind('fraction')(lambda *parts: fractions.Fraction(*_of(int, *parts)))
_kind('date')(lambda text: datetime.date.fromisoformat(_of(str, text)))
_kind('time')(lambda text: datetime.time.fromisoformat(_of(str, text)))
_kind('datetime')(lambda text: datetime.datetime.fromisoformat(_of(str, text)))
_kind('timedelta')(lambda *parts: datetime.timedelta(*_of(int, *parts)))

if not isinstance(gmpy.mpz(0), int):  # else MPyC does without gmpy2
    _take_apart.register(type(gmpy.mpz(0)), lambda value: ('mpz', int(value)))
_kind('mpz')(lambda value: gmpy.mpz(_of(int, value)))


# Polynomials, finite fields, finite groups

@_take_apart.register
def _(value: gfpx.Polynomial):
    return 'polynomial', value.p, value.value if value.p == 2 else list(value.value)


@_kind('polynomial')
def _polynomial(p, value):
    _bounded(_of(int, p), MAX_PRIME_BITS)
    return gfpx.GFpX(p)(_of(int if p == 2 else list, value))


@_take_apart.register
def _(value: finfields.FiniteFieldElement):
    return 'field element', _key(type(value)), value.value


@_kind('field element')
def _field_element(key, value):
    field = _field(key)
    return field(_of(int if type(key) is tuple else type(key), value))


def _key(field):
    """What makes a field: modulus and root of unity, or an irreducible polynomial."""
    if issubclass(field, finfields.PrimeFieldElement):
        return field.modulus, field.nth, field.root
    return field.modulus


def _field(key):
    if isinstance(key, gfpx.Polynomial):
        _bounded(key.p ** key.degree(), MAX_EXTENSION_BITS)
        return finfields.GF(key)
    return _prime_field(*_of(int, *_of(tuple, key)))


@functools.lru_cache(64)
def _prime_field(p, n, w):
    _bounded(p, MAX_PRIME_BITS)
    return finfields.GF((p, n, w))


def _bounded(order, bits):
    if order.bit_length() > bits:
        raise ValueError(f'field of more than {bits} bits')


@_take_apart.register
def _(value: fingroups.FiniteGroupElement):
    name = type(value).__name__
    if vars(fingroups).get(name) is not type(value):
        raise Refused(f'{type(value).__module__}.{name}')
    return 'group element', name, value.value


@_kind('group element')
def _group_element(name, value):
    """MPyC knows its groups by name, and only those that this party's program has made."""
    group = vars(fingroups).get(_of(str, name))
    if not (isinstance(group, type) and issubclass(group, fingroups.FiniteGroupElement)):
        raise Refused(f'mpyc.fingroups.{name}')
    element = object.__new__(group)
    element.value = value
    return element


# numpy: numbers and text as bytes, arrays of Python objects as the list of these

if np:
    @_take_apart.register
    def _(value: np.generic):
        return 'numpy scalar', _dtype(value), value.tobytes()

    @_take_apart.register
    def _(value: np.ndarray):
        if type(value) is not np.ndarray:
            raise Refused(f'{type(value).__module__}.{type(value).__qualname__}')
        if value.dtype != object:
            return 'numpy array', _dtype(value), value.shape, value.tobytes()
        items = value.ravel().tolist()
        if set(map(type, items)) == {int}:  # shares, the bulk of what MPyC sends: no call per item
            return 'numbers', value.shape, pickle.dumps(items, PROTOCOL)
        return 'objects', value.shape, items

    def _dtype(value):
        if not NUMPY_DTYPE.fullmatch(value.dtype.str):
            raise Refused(f'numpy.dtype({value.dtype.str!r})')
        return value.dtype.str

    def _from_bytes(dtype, data):
        if not NUMPY_DTYPE.fullmatch(_of(str, dtype)):
            raise Refused(f'numpy.dtype({dtype!r})')
        return np.frombuffer(_of(bytes, data), np.dtype(dtype))

    def _shaped(array, shape):
        if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError('not the shape of an array')
        return array.reshape(shape)

    @_kind('numpy scalar')
    def _numpy_scalar(dtype, data):
        return _shaped(_from_bytes(dtype, data), ())[()]

    @_kind('numpy array')
    def _numpy_array(dtype, shape, data):
        return _shaped(_from_bytes(dtype, data), shape).copy()

    @_kind('objects')
    def _objects(shape, items):
        return _shaped(np.fromiter(_of(list, items), object, len(items)), shape)

    @_kind('numbers')
    def _numbers(shape, items):
        return _objects(shape, _Plain(io.BytesIO(_of(bytes, items))).load())

    @_take_apart.register
    def _(value: finfields.FiniteFieldArray):
        return 'field array', _key(value.field), value.value

    @_kind('field array')
    def _field_array(key, value):
        return _field(key).array(_of(np.ndarray, value))
