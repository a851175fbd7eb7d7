"""Messages that cost their receiver most: of up to 1 MiB, by opcode and by kind of value, and changes to them."""

import itertools

from messages import START, identifier, message  # first, since it knows where the launcher is
from mpyc import finfields, gfpx
from mpyc.numpy import np
import values

MOST = 1 << 20
HASHES = 2**61 - 1  # integers that differ by this have the same hash
PRIME = (2**61 - 1, 2, 2**61 - 2)
PRIMES = (2**521 - 1, 2**1279 - 1, 2**2203 - 1, 2**3072 - 47, 2**3217 - 1, 2**4096 - 2549)

# What may stand in a list, for each opcode that may be in a message.
OPCODES = (
    b'N', b'\x88', b'\x89', b'K\5', b'M\0\1', b'J\0\0\0\x7f', b'G' + bytes(8),
    b'\x8a\0', b'\x8a\1\1', b'\x8a\x20' + bytes(31) + b'\1', b'\x8a\xff' + bytes(254) + b'\1',
    b'\x8b\4\0\0\0' + bytes(3) + b'\1', b'\x8b\0\0\2\0' + bytes((1 << 17) - 1) + b'\1',
    b'C\0', b'C\1a', b'B\0\0\0\0', b'B\1\0\0\0a', b'X\0\0\0\0', b'X\1\0\0\0a', b'X\4\0\0\0\xf0\x9f\x98\x80',
    b']', b')', b'N\x85', b'NN\x86', b'NNN\x87', b'(t', b'(Nt', b'](e', b'](Ne', b']Na', b'])a', b'])Qa',
    100 * b']' + 99 * b'a', b')' + 190 * b'\x85', 190 * b'(' + 190 * b't', 190 * b'](' + 190 * b'e',
)

# The parts of small values of each kind.
SMALL = [
    ('bytearray', b'C\1a'), ('dict', [], []), ('dict', [1], [1]), ('set', []), ('set', ['a']), ('frozenset', ['a']),
    ('complex', 1.0, 1.0), ('range', 0, 1, 1), ('decimal', b'C\0011'), ('decimal', b'C\0131e999999999'),
    ('fraction', 1, 3), ('date', '2020-01-01'), ('time', '00:00'), ('datetime', '2020-01-01'), ('timedelta', 1, 1, 1),
    ('mpz', 5), ('polynomial', 2, 5), ('polynomial', 3, [1, 2]), ('field element', (101, 2, 100), 5),
    ('field elements', (101, 2, 100), []), ('field elements', (101, 2, 100), [5]), ('group element', 'ClassGroup', ()),
]
if np:
    SMALL += [
        ('numpy scalar', '|i1', b'C\1a'), ('numpy scalar', '<U1', b'C\4a\0\0\0'), ('numpy array', '|i1', (0,), b'C\0'),
        ('numpy array', '<U9', (0, 1 << 24), b'C\0'), ('numpy array', '|i1', 32 * (1,), b'C\1a'),
        ('objects', (0,), []), ('objects', (1,), [1]), ('numbers', (0,), b'C\4\x80\3].'),
        ('numbers', (1,), b'C\7\x80\3]K\1a.'), ('field array', (101, 2, 100), identifier('objects', (1,), [1])),
    ]


def filled(item):
    """The message with a list of as many of these as there is room for."""
    return message(b'](' + item * ((MOST - 64) // len(item)) + b'e')


def counted(data):
    return b'B' + len(data).to_bytes(4, 'little') + data


def by_opcode():
    for item in OPCODES:
        yield filled(item)
    yield START + (MOST - len(START)) * b'('
    yield message((MOST // 2) * b']' + (MOST // 2 - 64) * b'a')
    for character in (b'a', 'é'.encode(), '\U0001f600'.encode()):
        text = character * ((MOST - 64) // len(character)) + '\U0001f600'.encode()
        yield message(b'X' + len(text).to_bytes(4, 'little') + text)


def by_kind():
    for parts in SMALL:
        yield filled(identifier(*parts))
    yield from _keys()
    yield from of_fields()
    for terms in ((2**32767 - 1, 2**32766 - 3), (3**20_000, 2**32_000 + 1)):
        yield filled(identifier('fraction', *terms))
    yield message(identifier('decimal', counted((MOST - 64) * b'7')))
    if np:
        yield from _arrays()


def _keys():
    most = values.MAX_KEYS_WITH_KNOWN_HASH
    same = [n * HASHES for n in range(1, most + 1)]
    for items in (same, [('', n) for n in same], [('', '', n) for n in same], [16 * ('',) + (n,) for n in same],
                  [('', n << 440) for n in same[:9_000]], list(map(float, range(most))),
                  list(itertools.product(('a', b'a'), repeat=13))[:2_000]):
        yield message(identifier('set', items))
        if len(items) * 18 < MOST:
            yield message(identifier('dict', items, [None] * len(items)))[:MOST]
    text = b'](' + b''.join(b'X\6\0\0\0%06d' % n for n in range(90_000)) + b'e'
    yield message(identifier('set', text))


def of_fields():
    for p in PRIMES:
        for composite in (0, 2):
            yield message(identifier('field element', (p - composite, 2, p - 1), 1))
            yield message(identifier('polynomial', p - composite, [1]))
    yield message(b'(' + b''.join(identifier('field element', (*PRIME[:2], w), 1) for w in range(2, 99)) + b't')
    irreducible = 1 << 1023 | 1 << 7 | 1
    yield message(identifier('field element', identifier('polynomial', 2, irreducible), identifier('polynomial', 2, 1)))
    yield message(identifier('polynomial', PRIME[0], 300_000 * [5]))
    yield message(identifier('polynomial', 2, 1 << 1_000_000))
    for item in (b'\x8a\x08' + 7 * b'\xfe' + b'\x0f', b'\x8a\x17' + 22 * b'\1' + b'\x80'):
        items = b'](' + item * (MOST // len(item) - 9) + b'e'
        yield message(identifier('field elements', PRIME, items))
        if np:
            yield message(identifier('field array', PRIME, identifier('objects', (MOST // len(item) - 9,), items)))
    p = 2**2203 - 1
    items = b'](' + (b'\x8b' + (550).to_bytes(4, 'little') + 550 * b'\x7f') * 1_800 + b'e'
    yield message(identifier('field elements', (p, 2, p - 1), items))


def _arrays():
    count = MOST - 300
    for dtype, width in (('|i1', 1), ('|b1', 1), ('|S1', 1), ('<U1', 4), ('<f8', 8), ('<c16', 16)):
        data = counted((count // width * width) * b'\1' if width == 1 else (count // width) * (b'a' + bytes(width - 1)))
        array = identifier('numpy array', dtype, (count // width,), data)
        yield message(array)
        for key in (PRIME, identifier('polynomial', 2, 283), identifier('polynomial', 11, [1, 0, 1])):
            yield message(identifier('field array', key, array))
    numbers = message(b'](' + 500_000 * b'K\1' + b'e')
    yield message(identifier('numbers', (500_000,), counted(numbers)))


def honest():
    """Messages as they are sent, small and large."""
    some = [1, 'text', 2.5, None, b'x', (1, 2), {'a': (1, 2), 'b': {3}}, 2**200, finfields.GF(101)(5),
            [finfields.GF(101)(n) for n in range(9)], gfpx.GFpX(11)([1, 2, 3]), finfields.GF(gfpx.GFpX(2)(283))(9)]
    if np:
        some += [np.arange(6).reshape(2, 3), np.array([1, 2**70], dtype=object), np.array(['ab']),
                 finfields.GF(101).array([1, 2])]
    some += [list(some), 999 * [some[6]], list(range(9_999)), 99 * [[(1, b'x')] * 9]]
    return list(map(values.dumps, some))


def changed(random, data, others):
    """The message with a few changes: bytes, parts left out, parts of others put in, parts repeated."""
    data = bytearray(data[:-1])
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(START), len(data) + 1)
        match random.randrange(4):
            case 0:
                data[at:at + 1] = bytes([random.randrange(256)])
            case 1:
                del data[at:at + random.randrange(9)]
            case 2:
                other = random.choice(others)[len(START):-1]
                data[at:at] = other[:MOST - len(data)]
            case 3:
                part = data[at:at + random.choice((1, 2, 9, 99))]
                data[at:at] = part * min(random.choice((1, 9, 999, MOST)), (MOST - len(data)) // max(len(part), 1))
    return bytes(data[:MOST - 1]) + b'.'
