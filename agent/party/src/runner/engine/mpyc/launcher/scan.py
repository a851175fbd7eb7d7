"""Looks through a message before it is unpickled.

Python's unpickler does what it is told: it makes room for the two thousand millionth entry of its memo,
hashes a tuple nested a million deep until the process crashes, or one that refers to the tuple before
it twice, and so on, until the sun burns out. So a message is read here first, opcode by opcode, and
nothing is built. Only the few opcodes that `values.dumps` writes may be in it. None of them refers to a
value written before, so what is read is a tree, each part in one place, and takes no more than its
message in proportion. The tree is not deep, no number in it is huge, and nothing is longer than what is
there.
"""

import itertools
import re

START = b'\x80\x03'  # PROTO 3: the last protocol without frames, which the unpickler reads in its own way
MAX_DEPTH = 200  # containers in containers; an object counts as those it is written with
MAX_PREFIX = 1000  # opcodes that are looked through for a name
MAX_NUMBER_BYTES = 1 << 17  # of one integer; the time to multiply two of them grows faster than their length

NONE, TRUE, FALSE, BININT, BININT1, BININT2, BINFLOAT = b'N\x88\x89JKMG'
LONG1, LONG4, SHORT_BINBYTES, BINBYTES, BINUNICODE = b'\x8a\x8bCBX'
EMPTY_LIST, APPEND, APPENDS, EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE = b']ae)\x85\x86\x87t'
MARK, BINPERSID, STOP = b'(Q.'

# The bytes that follow; negative are those of the length, which comes first.
SCALARS = {NONE: 0, TRUE: 0, FALSE: 0, BININT1: 1, BININT2: 2, BININT: 4, BINFLOAT: 8,
           LONG1: -1, LONG4: -4, SHORT_BINBYTES: -1, BINBYTES: -4, BINUNICODE: -4}
SHORT_TUPLES = {TUPLE1: 1, TUPLE2: 2, TUPLE3: 3}  # how many values they take


def _short(opcode, zeros=b''):
    """A pattern for the opcode with up to 32 bytes, whose number the byte after it says."""
    return opcode + b'(?:' + b'|'.join(b'\\x%02x%s.{%d}' % (n, zeros, n) for n in range(33)) + b')'


# The bulk of large messages: a thousand items, with the end of their list or tuple, that are short scalars,
# or tuples, lists and dictionaries of a few. A loop in Python over each opcode takes longer than the unpickler.
_SCALAR = b'(?:%s)' % b'|'.join((b'K.', _short(b'\x8a'), b'M..', b'J.{4}', b'G.{8}', _short(b'X', rb'\0\0\0'),
                                 rb'[N\x88\x89]'))
_LIST = rb'\](?:\(%s{2,16}e|%sa)?' % (_SCALAR, _SCALAR)
_SMALL = b'(?:%s)' % b'|'.join((_SCALAR + rb'{2}\x86', _SCALAR + rb'{3}\x87', _LIST, _SCALAR + rb'\x85',
                                rb'X\x04\0\0\0dict' + _LIST + _LIST + rb'\x87Q'))
ONE_SCALAR = re.compile(rb'(?s)\x80\x03%s\.' % _SCALAR)  # most messages that are not large
SCALARS_TO_END = re.compile(b'(?s)%s{0,1000}[et]' % _SCALAR)
SMALL_TO_END = re.compile(b'(?s)%s{0,1000}[et]' % _SMALL)
DEPTH_OF_SMALL = 2


def check(data):
    """Raise a ValueError unless this message is one that `values.dumps` could have written."""
    if ONE_SCALAR.fullmatch(data):
        return
    if not data.startswith(START):
        raise ValueError('not written by this launcher')
    # How deep each value on the unpickler's stack is. Those of lists are negative: they can be appended to.
    depths, marks, fence, position, end = [], [], 0, len(START), len(data)
    while position < end:
        opcode = data[position]
        position += 1
        if (scalar := SCALARS.get(opcode)) is not None:
            position += scalar if scalar >= 0 else _counted(opcode, data, position)
            depths.append(0)
        elif opcode in SHORT_TUPLES:
            _ends(depths, len(depths) - SHORT_TUPLES[opcode], fence)
        elif opcode == BINPERSID:
            if len(depths) <= fence:
                raise ValueError('values are missing')
            depths[-1] = abs(depths[-1])
        elif opcode == EMPTY_LIST:
            depths.append(-1)
        elif opcode == EMPTY_TUPLE:
            depths.append(1)
        elif opcode == APPEND:
            _appends(depths, len(depths) - 1, fence)
        elif opcode == MARK:
            marks.append(len(depths))
            fence = marks[-1]
            if items := SCALARS_TO_END.match(data, position):
                position = items.end() - 1
            elif items := SMALL_TO_END.match(data, position):
                position = items.end() - 1
                depths.append(DEPTH_OF_SMALL)
        elif opcode in (TUPLE, APPENDS) and marks:
            start = marks.pop()
            fence = marks[-1] if marks else 0
            (_ends if opcode == TUPLE else _appends)(depths, start, fence)
        elif opcode == STOP:
            if position < end or marks or len(depths) != 1:
                raise ValueError('more than one value')
            return
        else:
            raise ValueError(f'opcode {_name(opcode)}')
    raise ValueError('truncated')


def _counted(opcode, data, position):
    """The bytes that a scalar takes which says its own length."""
    width = -SCALARS[opcode]
    length = int.from_bytes(data[position:position + width], 'little')
    if opcode == LONG4 and length > MAX_NUMBER_BYTES:
        raise ValueError(f'integer of {length} bytes')
    return width + length


def _ends(depths, start, fence):
    """The values from `start` on become one tuple, or one object."""
    if start < fence:
        raise ValueError('values are missing')
    depths[start:] = [_deeper(depths[start:])]


def _appends(depths, start, fence):
    """The values from `start` on go into the list before them."""
    if start <= fence or depths[start - 1] >= 0:
        raise ValueError('no list to append to')
    depths[start - 1:] = [min(depths[start - 1], -_deeper(depths[start:]))]


def _deeper(depths):
    if not any(depths):
        return 1
    depth = 1 + max(map(abs, depths))
    if depth > MAX_DEPTH:
        raise ValueError(f'nested more than {MAX_DEPTH} deep')
    return depth


def _name(opcode):
    import pickletools  # for messages alone
    known = pickletools.code2op.get(chr(opcode))
    return known.name if known else f'0x{opcode:02x}'


def first_name(data):
    """What an ordinary pickle would call first, if it says so early: for messages alone."""
    import pickletools
    texts = []
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(data), MAX_PREFIX):
            if opcode.name in ('GLOBAL', 'INST'):
                return argument.replace(' ', '.')
            if opcode.name == 'STACK_GLOBAL':
                return '.'.join(texts[-2:])
            if isinstance(argument, str):
                texts.append(argument)
    except Exception:
        pass  # it is no pickle, or it ends before
    return None
