"""What a peer cannot make the reader of its messages do, run by test_values.py with MPyC's options in sys.argv.

A message that is not refused in time ends this process: its memory and its processor time are limited.
"""

import fractions
import itertools
import os
import pickle
import random
import resource
import sys
import tracemalloc
import unittest

from messages import START, identifier, inner, message, plain  # first, since it knows where the launcher is
import scan
import values
from mpyc import fingroups, finfields, gfpx
from mpyc.numpy import np

MEMORY = 2 << 30
SECONDS = 120  # of processor time, for all checks; what spins would take ages
HASHES = 2**61 - 1  # integers that differ by this have the same hash
PRIME = (2**61 - 1, 2, 2**61 - 2)

ALL_OPCODES = b'(.)]aetNJKMGCBXQ\x85\x86\x87\x88\x89\x8a\x8b'


class Hostile(unittest.TestCase):
    def refused(self, data, what='^malformed pickle: '):
        with self.assertRaises(values.Refused) as caught:
            values.loads(data)
        self.assertRegex(str(caught.exception), what)


class Opcodes(Hostile):
    def test_the_only_opcodes(self):
        for opcode in set(range(256)) - set(ALL_OPCODES):
            for before in (b'', b'N', b'NN', b']', b'](N', b'(NN'):
                for after in (b'.', b'\0\0\0\0.', b'\0\0\0\0\0\0\0\0.', b'0\n.', b'a\na\n.'):
                    self.refused(START + before + bytes([opcode]) + after, 'opcode|^a.a$')

    def test_memo(self):
        """References make large values of small messages, and the memo is as large as its greatest index."""
        for data in (b'Nr\xf0\xff\xff\x0f', b'Np268435440\n', b'Nq\0h\0', b'N\x94h\0', b'(N2'):
            self.refused(message(data), 'opcode')
            self.refused(b'\x80\x02' + data + b'.')
            self.refused(data + b'.')

    def test_references_to_references(self):
        twice = b')q\0' + b''.join(b'0h%ch%c\x86q%c' % (n, n, n + 1) for n in range(60))
        for value in (twice, twice + b'}h\x3cNs', b'(' + twice + b'\x91'):
            self.refused(b'\x80\x04' + value + b'.')
            self.refused(message(value), 'opcode')

    def test_changing_what_was_rebuilt(self):
        element = identifier('field element', (101, 2, 100), 5)
        for state in ((None, {'modulus': 7}), {'modulus': 7}):
            self.refused(START + element + pickle.dumps(state, 2)[2:-1] + b'b.', 'opcode')
        self.assertEqual(finfields.GF(101).modulus, 101)
        for target in (identifier('bytearray', b'C\x01a'), element, b'K\x01', b')', b'K\x01\x85'):
            self.refused(message(target + b'K\x01a'), 'no list')
            self.refused(message(target + b'(K\x01e'), 'no list')
            self.refused(message(b']K\x01a' + target + b'(K\x01e'), 'no list')

    def test_lengths_that_are_not_there(self):
        for length in (5, 2**31 - 1, 2**32 - 1):
            for opcode in b'BX\x8b':
                self.refused(START + bytes([opcode]) + length.to_bytes(4, 'little') + b'abc.')
        for opcode in b'CX\x8aGJMK':
            self.refused(START + bytes([opcode]) + b'\x7f')
        for opcode in b'\x8e\x96\x8d\x95':  # of protocols with lengths of eight bytes
            self.refused(b'\x80\x05' + bytes([opcode]) + b'\xff' * 7 + b'\x7f')
            self.refused(b'\x80\x05' + bytes([opcode]) + (1 << 33).to_bytes(8, 'little') + b'.')

    def test_values_that_are_not_there(self):
        for data in (b'', b'(', b'(N', b'N(', b'\x85', b'N\x86', b'NN\x87', b'N(\x85', b'N(N\x86', b't', b'e',
                     b'](', b'](Na', b'Na', b'(Ne', b'Q', b'N(Q', b'NN', b']](Ne', b'N.N'):
            self.refused(message(data))
            self.refused(START + data)
        self.refused(message(b'N') + b'N')
        self.refused(message(b'N') + message(b'N'))

    def test_nested(self):
        deep = b')' + 3_000_000 * b'\x85'
        for value in (deep, identifier('dict', b']' + deep + b'a', [1]), identifier('set', b']' + deep + b'a'),
                      1_000_000 * b']' + 999_999 * b'a', 1_000_000 * b'](' + 1_000_000 * b'e'):
            self.refused(message(value), 'nested more than')
        self.refused(b'\x80\x02})' + 3_000_000 * b'\x85' + b'Ns.')
        value = []
        for _ in range(scan.MAX_DEPTH - 1):
            value = [value]
        self.assertEqual(values.loads(values.dumps(value)), value)
        for deeper in ([value], (value,), [1, value], {'a': value}):
            with self.assertRaisesRegex(values.Refused, 'nested more than'):
                values.dumps(deeper)

    @unittest.skipUnless(np, 'without numpy')
    def test_arrays_in_arrays(self):
        """Freeing an array within an array, and so on, takes the processor's stack."""
        value = b'N'
        for _ in range(2000):
            value = b'X\x07\0\0\0objectsK\x01\x85]' + value + b'a\x87Q'
        self.refused(message(value), 'nested more than')

    def test_what_holds_itself(self):
        value = [1]
        value.append(value)
        mapping = {}
        mapping['a'] = mapping
        for value in (value, mapping):
            with self.assertRaisesRegex(values.Refused, 'cannot be sent'):
                values.dumps(value)

    def test_huge_numbers(self):
        most = scan.MAX_NUMBER_BYTES
        number = (1 << 8 * most - 2)
        self.assertEqual(values.loads(values.dumps(-number)), -number)
        with self.assertRaisesRegex(values.Refused, 'integer of'):
            values.dumps(number << 8)
        self.refused(plain(number << 8), 'integer of')


class Keys(Hostile):
    def test_nested(self):
        for key in (((1,),), 1j, range(3), finfields.GF(101)(5)):
            with self.assertRaisesRegex(values.Refused, 'key or item of a set'):
                values.dumps([{key: 1}])
        for key in ([1], ((1,),), (1, [2])):
            self.refused(message(identifier('dict', [key], [1])), 'key or item of a set')
            self.refused(message(identifier('set', [key])), 'key or item of a set')
            self.refused(message(identifier('frozenset', [key])), 'key or item of a set')
        element = identifier('field element', PRIME, 1)
        self.refused(message(identifier('set', b'](' + element + b'Ne')), 'key or item of a set')

    def test_with_the_same_hash(self):
        many = [n * HASHES for n in range(1, 200_000)]
        self.assertEqual(len(set(map(hash, many))), 1)
        for items in (many, [(n,) for n in many], [('', n) for n in many], [float(n) for n in range(10_001)]):
            self.refused(message(identifier('dict', items, items)), 'more than 10000')
            self.refused(message(identifier('set', items)), 'more than 10000')
            self.refused(message(identifier('frozenset', items)), 'more than 10000')
        both = list(itertools.product(('a', b'a'), repeat=15))
        self.assertEqual(len(set(map(hash, both))), 1)
        self.refused(message(identifier('set', both)), 'more than 10000')
        few = many[:1000]
        self.refused(message(b'](' + 11 * identifier('set', few) + b'e'), 'more than 10000')
        self.assertEqual(values.loads(message(identifier('set', few))), set(few))
        self.refused(message(identifier('set', [1 << 1000])), 'more than 512 bits')
        for part, parts in (('ab', 30), ('x' * 2000, 1)):
            tuples = [(*parts * [part], n) for n in many[:3000]]
            self.refused(message(identifier('set', tuples)), 'take long to compare')
            self.refused(message(identifier('dict', tuples, tuples)), 'take long to compare')
            with self.assertRaisesRegex(values.Refused, 'take long to compare'):
                values.dumps(set(tuples[:1000]) if parts == 30 else dict.fromkeys(tuples[:1500]))
        other = {(*30 * ['ab'], n) for n in range(5000)} | {(*30 * ['ab'], str(n)) for n in range(20_000)}
        self.assertEqual(values.loads(values.dumps(other)), other)
        with self.assertRaisesRegex(values.Refused, 'more than 10000'):
            values.dumps([dict.fromkeys(range(n, n + 2000)) for n in range(6)])


class Rebuilt(Hostile):
    def refuses(self, what, *parts):
        self.refused(message(identifier(*parts)), what)

    def test_fields(self):
        self.refuses('new fields of more than', 'field element', (2**4423 - 1, 2, 3), 1)
        self.refuses('new fields of more than', 'polynomial', 2**4423 - 1, [1])
        modulus = identifier('polynomial', 2, 1 << 3000 | 1)
        self.refuses('more than 1024 bits', 'field element', modulus, modulus)
        for p in (11, 2**61 - 1, 2**521 - 1):
            modulus = identifier('polynomial', p, 200_000 * [1])
            self.refuses('more than 1024 bits', 'field element', modulus, modulus)
        several = [identifier('field element', (p, 2, p - 1), 1) for p in (2**2203 - 1, 2**2281 - 1)]
        self.refused(message(b'(' + b''.join(several) + b't'), 'new fields of more than')
        many = [identifier('field element', (2**127 - 1, 2, w), 1) for w in range(2, 1000)]
        self.refused(message(b'(' + b''.join(many) + b't'), 'new fields of more than')

    def test_what_the_program_has_made_is_not_new(self):
        p = 2**4096 - 2549
        element = identifier('field element', (p, 2, p - 1), 5)
        self.refused(message(element), 'new fields of more than')
        self.assertEqual(values.loads(values.dumps(finfields.GF(p)(5))), 5)
        self.assertEqual(values.loads(message(element)), 5)
        self.refuses('new fields of more than', 'field element', (p, 3, 7), 5)

    def test_far_from_reduced(self):
        key = inner((PRIME))
        self.refuses('more than 186 bits', 'field element', key, 1 << 200_000)
        self.refuses('more than 186 bits', 'field elements', key, [1, -1 << 200_000, 2])
        for p, value in ((2, 1 << 500_000), (11, 500_000 * [1])):
            modulus = identifier('polynomial', p, 283 if p == 2 else [1, 0, 1])
            value = identifier('polynomial', p, value)
            self.refuses('more than', 'field element', modulus, value)
            if np:
                items = identifier('objects', (1,), b']' + value + b'a')
                self.refuses('more than', 'field array', modulus, items)
        if np:
            self.refuses('more than', 'field array', key, identifier('objects', (1,), [1 << 200_000]))
            huge = identifier('decimal', b'C\x0b1e999999999')
            self.refuses('TypeError', 'field array', key, identifier('objects', (1,), b']' + huge + b'a'))

    def test_groups(self):
        group = fingroups.ClassGroup(l=32)
        self.refuses('more than 16384 bits', 'group element', group.__name__, (1, [1 << 100_000], 1))

    def test_fractions(self):
        self.refuses('more than 32768 bits', 'fraction', 1 << 900_000, 3**500_000)
        with self.assertRaisesRegex(values.Refused, 'more than 32768 bits'):
            values.dumps(fractions.Fraction(1, 1 << 40_000))

    @unittest.skipUnless(np, 'without numpy')
    def test_arrays(self):
        bytes_of = {n: b'C' + bytes([n]) + bytes(n) for n in (0, 8)}
        for shape in ((0, 2**40), (2**30, 0, 2**30), (0, 2**62, 2**62), (2**70, 0)):
            self.refuses('^malformed pickle', 'numpy array', '<f8', shape, bytes_of[0])
            self.refuses('^malformed pickle', 'objects', shape, [])
        huge = 1 << 8 * scan.MAX_NUMBER_BYTES - 8  # multiplied with each other: a minute for forty of them
        for shape in ((0, *40 * [huge]), (0, 1 << 63), 65 * (0,), 1000 * (0,)):
            self.refuses('not the shape', 'numpy array', '<f8', shape, bytes_of[0])
            self.refuses('not the shape', 'objects', shape, [])
        for shape in ((-1,), (2**62, 4), 65 * (1,), (True,), [1]):
            self.refuses('^malformed pickle', 'numpy array', '<f8', shape, bytes_of[8])
        for dtype in ('O', '|V8', '<f8,<f8', '<U0', 'S0', '<U999999999', '<f3', '{"a": "O"}', '<m8', '<M8[s]'):
            self.refuses('.', 'numpy array', dtype, (1,), bytes_of[8])
        self.refuses('neither 0 nor 1', 'numpy array', '|b1', (3,), b'C\x03\0\x01\x02')
        self.refuses('neither 0 nor 1', 'numpy scalar', '|b1', b'C\x01\xff')
        for dtype, text in (('<U1', b'\0\0\x11\0'), ('>U1', b'\0\x11\0\0')):
            self.refuses('not in Unicode', 'numpy array', dtype, (1,), b'C\x04' + text)
        place, deep = b'\x80\x02Nr\xf0\xff\xff\x0f.', message(b')' + 500_000 * b'\x85')
        for data in (place, deep, message(identifier('set', []))):
            self.refuses('^malformed pickle', 'numbers', (1,), b'B' + len(data).to_bytes(4, 'little') + data)


class Random(unittest.TestCase):
    """Whatever is sent is read or refused, in memory that is in proportion to it."""

    PER_BYTE = 200
    ANYWAY = 1 << 18

    def setUp(self):
        seed = int(os.environ.get('MPYC_PARTY_TEST_SEED') or random.randrange(2**32))
        self.random = random.Random(seed)
        self.addCleanup(lambda: self._outcome.success or print('MPYC_PARTY_TEST_SEED', seed))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)

    def survives(self, data):
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        try:
            value = values.loads(data)
        except values.Refused as refused:
            read = False
            # What the unpickler would find wrong itself has been found before.
            self.assertNotRegex(str(refused), 'UnpicklingError(?!.*persistent)|EOFError')
        else:
            read = True
            self.assertLessEqual(size(value), len(data))
        peak = tracemalloc.get_traced_memory()[1] - before
        self.assertLessEqual(peak, self.PER_BYTE * len(data) + self.ANYWAY, data[:100])
        return read

    def test_opcodes(self):
        read = 0
        for _ in range(5_000):
            read += self.survives(message(self.opcodes()))
        self.assertGreater(read, 100)

    def opcodes(self):
        """Opcodes with what belongs to them, mostly such that the next finds what it needs."""
        choose, made, height, marks = self.random.choice, [], 0, []
        for _ in range(self.random.randrange(30)):
            free = height - (marks[-1] if marks else 0)
            n = self.random.randrange(4)
            if self.random.random() < 0.02:
                made.append(bytes([self.random.randrange(256)]))
            elif free >= n > 0 and self.random.random() < 0.3:
                made.append(b'\x85\x86\x87'[n - 1:n])
                height -= n - 1
            elif marks and self.random.random() < 0.2:
                height = marks.pop()
                made.append(choose((b't', b'e')) if height else b't')
                height += made[-1] == b't'
            elif self.random.random() < 0.2:
                made.append(choose((b'(', b'](')))
                height += len(made[-1]) - 1
                marks.append(height)
            else:
                made.append(choose((b']', b')', b'N', b'K\5', b'M\0\1', b'J\0\0\0\x80', b'G\x7f' + bytes(7),
                                    b'\x8a\1\1', b'\x8a\0', b'\x8b\2\0\0\0\1\1', b'C\2ab', b'X\2\0\0\0ab',
                                    b'\x88', self.kind())))
                height += 1
        while marks:
            height = marks.pop() + 1
            made.append(b't')
        if height > 1:
            made.insert(0, b'(')
            made.append(b't')
        return b''.join(made)

    def kind(self):
        part = self.random.choice
        parts = [part((0, 1, 2, 255, 'x', 1.5, (), (1,), (0, 3), [], [1, 2], ['a'], (101, 2, 100), b'C\x04\0\0\0\1',
                       '<f4', '|b1', '<U1', b'(K\x01K\x02t', inner((2, 2)))) for _ in range(self.random.randrange(5))]
        return identifier(part(list(values._REBUILD)), *parts)

    def test_changed_messages(self):
        honest = [1, 'text', [1, 2.5, None] * 9, {'a': (1, 2), 'b': {3}}, [(1, b'x')] * 9, 2**200,
                  [finfields.GF(101)(n) for n in range(9)], gfpx.GFpX(11)([1, 2, 3]),
                  finfields.GF(gfpx.GFpX(2)(283))(9)]
        if np:
            honest += [np.arange(6).reshape(2, 3), np.array([1, 2**70], dtype=object), np.array(['ab']),
                       finfields.GF(101).array([1, 2])]
        honest = list(map(values.dumps, honest))
        read = sum(self.survives(self.changed(self.random.choice(honest), honest)) for _ in range(20_000))
        self.assertGreater(read, 100)

    def changed(self, data, others):
        data = bytearray(data)
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.randrange(len(START), len(data) + 1)
            match self.random.randrange(4):
                case 0:
                    data[at:at + 1] = bytes([self.random.randrange(256)])
                case 1:
                    del data[at:at + self.random.randrange(9)]
                case 2:
                    data[at:at] = self.random.choice(others)[len(START):-1]
                case 3:
                    data[at:at] = data[at:at + self.random.randrange(99)] * self.random.randrange(9)
        return bytes(data)


def size(value):
    """How many values there are in it, counted as often as they occur."""
    counted, waiting = 0, [value]
    while waiting:
        value = waiting.pop()
        counted += 1
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, (tuple, list, set, frozenset)):
            waiting += value
        elif np and isinstance(value, np.ndarray):
            waiting += value.ravel().tolist()
    return counted


if __name__ == '__main__':
    for limit, bound in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS)):
        resource.setrlimit(limit, (bound, resource.getrlimit(limit)[1]))
    unittest.main(argv=sys.argv[:1])
