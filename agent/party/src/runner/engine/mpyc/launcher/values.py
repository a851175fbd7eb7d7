"""How values travel between parties: pickles in which no name means anything.

An ordinary pickle names classes and functions, and reading it calls them; whoever writes it runs
code where it is read. Here the reader refuses every name. What is not plain data travels as a
persistent identifier, a tuple of plain data that begins with its kind, and is rebuilt by the one
function for that kind, which checks what it is given. So the reader never holds anything callable,
nor a class, nor a numpy dtype, and pickle's opcodes that call and modify have nothing to work on.

A peer that means ill could still keep the unpickler busy, or crash it. So each message is looked
through before it is read (scan.py), and the functions here do no work out of proportion to it: they
bound what moduli are tested, fractions reduced and keys looked up.

All parties of a session run this file, so only it needs to read what it writes; they compare the
number of its format before they start.
"""

import collections
import datetime
import decimal
import fractions
import functools
import io
import math
import operator
import pickle
import re
import sys

import scan
from mpyc import fingroups, finfields, gfpx, gmpy
from mpyc.numpy import np

PLAIN = frozenset((type(None), bool, int, float, str, bytes, tuple, list))
PROTOCOL = 3
# Rises with every change after which an older file could not read what this one writes, or would
# read something else, or the other way round.
FORMAT = 2
# A field that is new to this party has its modulus tested, which takes long for a huge one (without gmpy2
# 1.5 s for 3072 bits), and becomes a class, which stays. So many bits may be new in one message; an extension
# field counts several times. What this party's program has made is not new.
MAX_NEW_FIELD_BITS = 3072
MIN_NEW_FIELD_BITS = 64
MAX_EXTENSION_BITS = 1024
EXTENSION_COST = 3
# Python looks keys up by their hash. It randomises those of str and bytes; of all others a peer can
# choose as many with the same hash as it likes, and each is compared with all before it.
MAX_KEYS_WITH_KNOWN_HASH = 10_000
MAX_KEY_BITS = 512
# Tuples with the same hash are compared part by part, and texts character by character, as far as they are equal.
MAX_KEY_COMPARISONS = 1 << 24  # of parts, or of so many characters:
COMPARED_AT_ONCE = 256
TEXT = frozenset((str, bytes))
KEYS = TEXT | {type(None), bool, int, float, datetime.date, datetime.time, datetime.datetime}
MAX_FRACTION_BITS = 1 << 15  # reducing one takes time that grows with the square
MAX_GROUP_BITS = 1 << 14  # of each number in the element of a group
MAX_DIMENSIONS = 64  # as many as an array of numpy can have
MAX_EMPTY_SHAPE = 1 << 24  # what the other dimensions of an array without elements multiply to
NUMPY_DTYPE = re.compile(r'[<>|=]?[biufcSU]\d{1,9}')


class Refused(Exception):
    """A value that may not pass: the name it asked for, or what is wrong with it."""


def dumps(value):
    """Write a value. What its reader would refuse is refused here already, but for fields new to it."""
    try:
        message = _written(_Writer, value)
        scan.check(message)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f'value that cannot be sent: {error!r}') from error
    return message


def loads(data):
    """Read a value written by `dumps`, here or by a peer that means ill."""
    try:
        scan.check(data)
    except Exception as error:
        raise Refused(scan.first_name(data) or f'malformed pickle: {error}') from error
    try:
        return _read(_Reader, data)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f'malformed pickle: {error!r}') from error


def _written(writer, value):
    """Its pickle, in which nothing refers to anything before it: each part is written anew."""
    file = io.BytesIO()
    pickler = writer(file, PROTOCOL)
    pickler.fast = True
    pickler.dump(value)
    return file.getvalue()


def _read(reader, data):
    """The value of a message that has been looked through."""
    return reader(_File(data)).load()


class _File(io.BytesIO):
    def peek(self, _):
        """All that is left; without this the unpickler would ask for one opcode at a time."""
        return self.getvalue()[self.tell():]


class _Allowance:
    """What is left of what one message may cost beyond the time to read it."""

    _field_bits = MAX_NEW_FIELD_BITS
    _keys = MAX_KEYS_WITH_KNOWN_HASH
    _comparisons = MAX_KEY_COMPARISONS

    def take_field(self, bits):
        self._field_bits -= max(bits, MIN_NEW_FIELD_BITS)
        if self._field_bits < 0:
            raise ValueError(f'new fields of more than {MAX_NEW_FIELD_BITS} bits')

    def take_keys(self, keys):
        """Take these keys or items of a set if each is a scalar, or a tuple of scalars."""
        if TEXT.issuperset(map(type, keys)):
            return
        for key in keys:
            for part in key if type(key) is tuple else (key,):
                if type(part) not in KEYS:
                    raise ValueError(f'key or item of a set of type {type(part).__name__}')
                if type(part) is int and part.bit_length() > MAX_KEY_BITS:
                    raise ValueError(f'key or item of a set of more than {MAX_KEY_BITS} bits')
                self._keys -= type(part) is not str  # b'a' and 'a' have one hash: tuples of k of them 2**k
        if self._keys < 0:
            raise ValueError(f'more than {MAX_KEYS_WITH_KNOWN_HASH} keys or items of sets that are no text')
        hashes = collections.Counter(map(hash, keys))
        if len(hashes) < len(keys):
            self._comparisons -= sum((hashes[hash(key)] - 1) * _parts(key) for key in keys)
            if self._comparisons < 0:
                raise ValueError('keys or items of sets with the same hash that take long to compare')


def _parts(key):
    """How many parts, or pieces of text, are compared where a key is equal to another."""
    if type(key) is not tuple:
        return 1
    return 1 + sum(1 + (len(part) // COMPARED_AT_ONCE if type(part) in TEXT else 0) for part in key)


class _Writer(_Allowance, pickle.Pickler):
    def persistent_id(self, value):
        if type(value) in PLAIN:
            return _take_apart_list(value) if type(value) is list else None
        if type(value) in (dict, set, frozenset):
            self.take_keys(value)
        return _take_apart(value)


class _Plain(pickle.Unpickler):
    def find_class(self, module, name):
        raise Refused(f'{module}.{name}')


class _Reader(_Allowance, _Plain):
    def persistent_load(self, identifier):
        kind, *parts = _of(tuple, identifier)
        if (rebuild := _REBUILD.get(_of(str, kind))) is None:
            raise Refused(kind)
        return rebuild(self, *parts)


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
    """Register the function that rebuilds values of this kind from their parts."""
    return _kind_with_allowance(name, lambda rebuild: lambda _, *parts: rebuild(*parts))


def _kind_with_allowance(name, adapt=lambda rebuild: rebuild):
    """The same for a function that takes the message's allowance before the parts."""
    def register(rebuild):
        _REBUILD[name] = adapt(rebuild)
        return rebuild
    return register


# Python's containers that look up keys, or change

def _exactly(kind):
    """Refuse subclasses: what they would be more than their base is lost."""
    def checked(take_apart):
        @_take_apart.register(kind)
        def _(value):
            return take_apart(value) if type(value) is kind else _take_apart.dispatch(object)(value)
        return take_apart
    return checked


_exactly(bytearray)(lambda value: ('bytearray', bytes(value)))
_exactly(dict)(lambda value: ('dict', list(value), list(value.values())))
_exactly(set)(lambda value: ('set', list(value)))
_exactly(frozenset)(lambda value: ('frozenset', list(value)))

_kind('bytearray')(lambda value: bytearray(_of(bytes, value)))


@_kind_with_allowance('dict')
def _dict(allowance, keys, values):
    allowance.take_keys(_of(list, keys))
    return dict(zip(keys, _of(list, values), strict=True))


@_kind_with_allowance('set')
def _set(allowance, items, kind=set):
    allowance.take_keys(_of(list, items))
    return kind(items)


_kind_with_allowance('frozenset')(functools.partial(_set, kind=frozenset))


# Python's own numbers and dates

_take_apart.register(complex, lambda value: ('complex', value.real, value.imag))
_take_apart.register(range, lambda value: ('range', value.start, value.stop, value.step))
_take_apart.register(decimal.Decimal, lambda value: ('decimal', str(value).encode()))
_take_apart.register(fractions.Fraction, lambda value: ('fraction', *_ratio(value.numerator, value.denominator)))
_take_apart.register(datetime.date, lambda value: ('date', value.isoformat()))
_take_apart.register(datetime.time, lambda value: ('time', value.isoformat()))
_take_apart.register(datetime.datetime, lambda value: ('datetime', value.isoformat()))
_take_apart.register(datetime.timedelta, lambda value: ('timedelta', value.days, value.seconds, value.microseconds))

_kind('complex')(lambda *parts: complex(*_of(float, *parts)))
_kind('range')(lambda *parts: range(*_of(int, *parts)))
_kind('decimal')(lambda text: decimal.Decimal(_of(bytes, text).decode()))
_kind('date')(lambda text: datetime.date.fromisoformat(_of(str, text)))
_kind('time')(lambda text: datetime.time.fromisoformat(_of(str, text)))
_kind('datetime')(lambda text: datetime.datetime.fromisoformat(_of(str, text)))
_kind('timedelta')(lambda *parts: datetime.timedelta(*_of(int, *parts)))



def _ratio(*terms):
    _bounded(MAX_FRACTION_BITS, *_of(int, *terms))
    return terms


_kind('fraction')(lambda *terms: fractions.Fraction(*_ratio(*terms)))

if not isinstance(gmpy.mpz(0), int):  # else MPyC does without gmpy2
    _take_apart.register(type(gmpy.mpz(0)), lambda value: ('mpz', int(value)))
_kind('mpz')(lambda value: gmpy.mpz(_of(int, value)))


# Polynomials, finite fields, finite groups

@_take_apart.register
def _(value: gfpx.Polynomial):
    return 'polynomial', value.p, value.value if value.p == 2 else list(value.value)


@_kind_with_allowance('polynomial')
def _polynomial(allowance, p, value):
    ring = _made(allowance, _of(int, p).bit_length(), gfpx.GFpX, p)
    return ring(_of(int if p == 2 else list, value))


@_take_apart.register
def _(value: finfields.FiniteFieldElement):
    return 'field element', _key(type(value)), value.value


def _take_apart_list(values):
    """Elements of one field are worth their own kind: MPyC sends them in lists."""
    if values and isinstance(values[0], finfields.FiniteFieldElement) and len(set(map(type, values))) == 1:
        return 'field elements', _key(type(values[0])), [value.value for value in values]
    return None


@_kind_with_allowance('field elements')
def _field_elements(allowance, key, values):
    field = _field(allowance, key)
    _of(int if type(key) is tuple else type(key), *_of(list, values))
    _near(field, values)
    return list(map(field, values))


@_kind_with_allowance('field element')
def _field_element(allowance, key, value):
    return _field_elements(allowance, key, [value])[0]


def _key(field):
    """What makes a field: modulus and root of unity, or an irreducible polynomial."""
    if issubclass(field, finfields.PrimeFieldElement):
        return field.modulus, field.nth, field.root
    return field.modulus


def _field(allowance, key):
    if not isinstance(key, gfpx.Polynomial):
        p, n, w = _of(int, *_of(tuple, key))
        return _made(allowance, p.bit_length(), finfields.GF, (p, n, w))
    p, degree = key.p, key.degree()
    if degree * (p.bit_length() - 1) > MAX_EXTENSION_BITS or (p**degree).bit_length() > MAX_EXTENSION_BITS:
        raise ValueError(f'extension field of more than {MAX_EXTENSION_BITS} bits')
    return _made(allowance, EXTENSION_COST * (p**degree).bit_length(), finfields.GF, key)


_MADE = {}


def _made(allowance, bits, make, modulus):
    """The field or ring for this modulus: a new one only if the allowance has so many bits left."""
    key = make, modulus
    if key not in _MADE:
        if not _is_the_program_s(make, modulus):
            allowance.take_field(bits)
        _MADE[key] = make(modulus)
    return _MADE[key]


def _is_the_program_s(make, modulus):
    """Whether this party's program has made this prime field, or ring, already."""
    if make is gfpx.GFpX:
        return any(ring.p == modulus for ring in gfpx.Polynomial.__subclasses__())
    fields = finfields.PrimeFieldElement.__subclasses__()
    return type(modulus) is tuple and any(_key(field) == modulus for field in fields)


def _bits(value):
    """About the number of bits of a number or polynomial."""
    if isinstance(value, gfpx.Polynomial):
        return value.degree() * (value.p - 1).bit_length()
    return operator.index(value).bit_length()


def _bounded(bits, *values):
    if any(_bits(value) > bits for value in values):
        raise ValueError(f'number of more than {bits} bits')


def _near(field, values):
    """MPyC reduces all values of a field. What is far from reduced takes long to."""
    if set(map(type, values)) == {int}:
        values = min(values), max(values)  # the longest is one of them
    _bounded(2 * field.order.bit_length() + 64, *values)


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
    _bounded(MAX_GROUP_BITS, *_numbers_in(value))
    element = object.__new__(group)
    element.value = value
    return element


def _numbers_in(value):
    """The numbers and polynomials in nested tuples and lists. Elements of fields are reduced already."""
    if type(value) in (tuple, list):
        for part in value:
            yield from _numbers_in(part)
    elif isinstance(value, (int, type(gmpy.mpz(0)), gfpx.Polynomial)):
        yield value


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
            return 'numbers', value.shape, _written(pickle.Pickler, items)
        return 'objects', value.shape, items

    def _dtype(value):
        if not NUMPY_DTYPE.fullmatch(value.dtype.str):
            raise Refused(f'numpy.dtype({value.dtype.str!r})')
        return value.dtype.str

    def _from_bytes(dtype, data):
        if not NUMPY_DTYPE.fullmatch(_of(str, dtype)):
            raise Refused(f'numpy.dtype({dtype!r})')
        array = np.frombuffer(_of(bytes, data), np.dtype(dtype))
        # numpy takes it for granted that booleans are 0 or 1, and characters are in Unicode.
        kind, order = array.dtype.kind, array.dtype.byteorder
        if kind == 'b' and array.view('u1').max(initial=0) > 1:
            raise ValueError('boolean that is neither 0 nor 1')
        if kind == 'U' and np.frombuffer(data, order + 'u4').max(initial=0) > sys.maxunicode:
            raise ValueError('character that is not in Unicode')
        return array

    def _shaped(array, shape):
        if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
            raise ValueError('not the shape of an array')
        if any(type(n) is not int or not 0 <= n < 1 << 63 for n in shape):
            raise ValueError('not the shape of an array')
        if 0 in shape and math.prod(filter(None, shape)) > MAX_EMPTY_SHAPE:
            raise ValueError('array without elements whose other dimensions are huge')
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
        scan.check(_of(bytes, items))
        return _objects(shape, _read(_Plain, items))

    @_take_apart.register
    def _(value: finfields.FiniteFieldArray):
        return 'field array', _key(value.field), value.value

    @_kind_with_allowance('field array')
    def _field_array(allowance, key, value):
        field = _field(allowance, key)
        if _of(np.ndarray, value).dtype == object:
            _near(field, value.ravel().tolist())
        return field.array(value)
