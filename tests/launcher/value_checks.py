"""The tests of values.py, run by test_values.py with MPyC's options in sys.argv."""

import datetime
import decimal
import fractions
import functools
import hashlib
import operator
import pickle
import sys
import types
import unittest

from messages import plain  # first, since it knows where the launcher is
import values
from mpyc import fingroups, finfields, gfpx, gmpy
from mpyc.numpy import np

PRIME = finfields.GF(2**61 - 1)
EXTENSION = finfields.GF(gfpx.GFpX(11)('x^2+1'))
BINARY = finfields.GF(gfpx.GFpX(2)(283))


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def named(name):
    """The pickle that asks for a name, dotted or not."""
    texts = [text.encode() for text in name.split(':')]
    return b'\x80\x04' + b''.join(b'\x8c' + bytes([len(text)]) + text for text in texts) + b'\x93.'


def identifier(parts):
    """The message with a persistent identifier made by a peer."""
    return plain(parts)[:-1] + b'Q.'


class Allowed(unittest.TestCase):
    def passes(self, value):
        read = values.loads(values.dumps(value))
        self.assertIs(type(read), type(value))
        self.assertEqual(read, value)
        return read

    def test_plain_data(self):
        for value in (None, True, 0, -1, 2**5000, 1.5, 'ä', b'\0', bytearray(b'x'), (), (1, (2,)), [1, [2]],
                      {'a': {1: 2}}, {1, 2}, frozenset({3}), 1 + 2j, range(3, 9, 2),
                      decimal.Decimal('1.50'), fractions.Fraction(-1, 3), datetime.date(2024, 2, 29),
                      datetime.time(1, 2, 3, 4), datetime.datetime(2024, 2, 29, 1, tzinfo=datetime.timezone.utc),
                      datetime.timedelta(1, 2, 3), gmpy.mpz(2**100)):
            with self.subTest(value):
                self.passes(value)

    def test_keys(self):
        day = datetime.date(2024, 2, 29)
        for keys in (range(10_000), map(str, range(50_000)), [(1, 'a'), (day, None), day, True, 2.5, b'c', ()]):
            value = dict.fromkeys(keys)
            self.assertEqual(list(self.passes(value)), list(value))  # in the same order
            self.passes(set(value))
            self.passes(frozenset(value))

    def test_nested(self):
        value = {}
        for _ in range(60):
            value = {'a': [value]}
        self.passes(value)

    def test_fields_and_polynomials(self):
        for value in (PRIME(5), EXTENSION(25), BINARY(200), gfpx.GFpX(11)([1, 2, 3] * 99), gfpx.GFpX(2)(5)):
            self.passes([value] * 50)
            self.passes([(value, 1), value, {'a': value}])
        self.passes([finfields.GF(p)(1) for p in (3, 5, 7, 11, 101, 65537, 2**127 - 1, 2**521 - 1)])
        self.passes([PRIME(5), BINARY(200)])

    def test_groups(self):
        for group in (fingroups.EllipticCurve('Ed25519', 'extended'), fingroups.SymmetricGroup(5),
                      fingroups.SchnorrGroup(p=23, q=11), fingroups.QuadraticResidues(l=64),
                      fingroups.EllipticCurve('BN256_twist', 'projective'), fingroups.ClassGroup(l=32)):
            with self.subTest(group):
                self.passes([group.identity] * 50)
                if group.generator is not None:
                    self.passes(group.generator)

    @unittest.skipUnless(np, 'without numpy')
    def test_arrays(self):
        for array in (np.arange(6).reshape(2, 3).T, np.array(1.5), np.array([True]), np.array([1j]),
                      np.array(['ab', 'c', '\U0010ffff']), np.zeros((0, 3)), np.arange(3, dtype='>i2'),
                      np.array([[1, 2**70], [3, -4]], dtype=object), np.array([], dtype=object),
                      np.array([gfpx.GFpX(2)(5)] * 20, dtype=object),
                      np.array([[1], None, 'x'], dtype=object)):
            with self.subTest(array):
                read = values.loads(values.dumps([array, array]))[1]
                self.assertEqual((read.dtype, read.shape), (array.dtype, array.shape))
                self.assertEqual(read.tolist(), array.tolist())
                self.assertTrue(read.flags.writeable)
        for scalar in (np.float64(1.5), np.int32(-1), np.bool_(True), np.str_('ab')):
            self.passes(scalar)

    @unittest.skipUnless(np, 'without numpy')
    def test_field_arrays(self):
        for field in (PRIME, EXTENSION, BINARY):
            array = field.array([1, 2, 3])
            read = values.loads(values.dumps(array))
            self.assertIs(type(read), type(array))
            self.assertTrue((read == array).all())


class Format(unittest.TestCase):
    """Parties compare `values.FORMAT` alone: whoever changes these bytes raises it."""

    def stands_for(self, number, digest, samples):
        written = b''.join(map(values.dumps, samples))
        self.assertEqual((values.FORMAT, hashlib.sha256(written).hexdigest()[:16]), (number, digest))

    def test_values(self):
        self.stands_for(2, '1fbfc7230c970583', (
            (1, 'ä', b'\0', [2.5, None, {3}]), {'a': frozenset((1,))}, bytearray(b'x'), 1 + 2j, range(3),
            decimal.Decimal('1.50'), fractions.Fraction(1, 3),
            datetime.date(2024, 2, 29), datetime.time(1, 2), datetime.datetime(2024, 2, 29, 1), datetime.timedelta(1),
            gfpx.GFpX(11)([1, 2, 3]), PRIME(5), EXTENSION(25), [BINARY(200)], fingroups.SymmetricGroup(3).identity))

    @unittest.skipUnless(np, 'without numpy')
    def test_arrays(self):
        self.stands_for(2, '42f86bd4190d6a63', (
            np.float64(1.5), np.arange(3, dtype='<i2'), np.array([1, 2**70], dtype=object),
            np.array([None, 'x'], dtype=object), PRIME.array([1, 2])))


class Refusals(unittest.TestCase):
    def refused(self, data, what):
        with self.assertRaises(values.Refused) as caught:
            values.loads(data)
        self.assertRegex(str(caught.exception), what)

    def test_names(self):
        for name in ('posix:system', 'builtins:eval', 'builtins:getattr', 'builtins:exec', 'types:CodeType',
                     'operator:attrgetter', 'functools:partial', 'copyreg:_reconstructor', 'copyreg:__newobj__',
                     'numpy:dtype', 'numpy.testing:runstring', 'values:Refused', 'builtins:int.__class__',
                     'mpyc.runtime:mpc.shutdown', 'mpyc.finfields:pickle', 'decimal:Decimal'):
            with self.subTest(name):
                self.refused(named(name), '^' + name.replace(':', '.') + '$')
        self.refused(b'cposix\nsystem\n(S"true"\ntR.', r'^posix\.system$')
        self.refused(b'(S"true"\niposix\nsystem\n.', r'^posix\.system$')
        self.refused(b'(cposix\nsystem\nS"true"\no.', r'^posix\.system$')

    def test_calls(self):
        for value, what in ((Calls(eval, ('1',)), r'builtin(s|__)\.eval'),
                            (Calls(operator.attrgetter, ('a',)), 'operator.attrgetter'),
                            (Calls(functools.partial, (print,)), 'functools.partial'),
                            (Calls(getattr, (1, 'real')), r'builtin(s|__)\.getattr'),
                            (Calls(types.SimpleNamespace, ()), 'types.SimpleNamespace'),
                            (Calls(bytes, (10**12,)), r'builtin(s|__)\.bytes'),
                            (Refusals('test_calls'), r'copy_?reg\.|Refusals')):
            for protocol in range(6):
                self.refused(pickle.dumps(value, protocol), what)

    @unittest.skipUnless(np, 'without numpy')
    def test_arrays_as_numpy_pickles_them(self):
        for array in (np.array([Calls(eval, ('1',))], dtype=object), np.zeros(3)):
            for protocol in range(6):
                self.refused(pickle.dumps(array, protocol), r'^numpy\.|^_codecs')

    def test_registered_extensions(self):
        import copyreg
        copyreg.add_extension('posix', 'system', 7)
        self.addCleanup(copyreg.remove_extension, 'posix', 'system', 7)
        for opcode in (b'\x82\x07', b'\x83\x07\0', b'\x84\x07\0\0\0'):
            self.refused(b'\x80\x03' + opcode + b'.', 'opcode EXT')

    def test_identifiers(self):
        for parts in (5, (), ('posix.system', 'true'), ('complex', '1', 2.0), ('timedelta', 1.0, 2),
                      ('range', 1, 2, 0), ('fraction', 1, 0), ('fraction', '1e999999999', 1), ('decimal', '1'),
                      ('mpz', '1'), ('polynomial', 11, 'x^999999999'), ('polynomial', 2, [1]), ('polynomial', 12, [1]),
                      ('field element', (100, 2, 99), 1), ('field element', (101, 2, 100), '1'),
                      ('field element', (2**4423 - 1, 2, 3), 1), ('field element', 101, 1),
                      ('group element', 'GF', 1), ('group element', 'no such', 1),
                      ('numpy array', 'O', (1,), bytes(8)), ('numpy array', '|V8', (1,), bytes(8)),
                      ('numpy array', '<f8,O', (1,), bytes(16)), ('numpy array', '<f8', (2,), bytes(8)),
                      ('numpy array', '<f8', (-1,), bytes(8)), ('numpy array', '<f8', (1,), [1]),
                      ('objects', (2,), [1]), ('objects', (1,), 'x'), ('field array', (101, 2, 100), [1]),
                      ('numbers', (1,), pickle.dumps([Calls(eval, ('1',))])),
                      ('numbers', (1,), identifier(('complex', 1.0, 2.0)))):
            with self.subTest(str(parts)[:60]):
                self.refused(identifier(parts), '^(?!_codecs)')

    def test_garbage(self):
        for data in (b'', b'.', b'hello', b'\x80', b'\x80\x09.', values.dumps([1, 2.0])[:-3], b'\x80\x04\x95',
                     b'\x80\x04h\xff.', b'\x80\x05\x97.', b'\x80\x04' + b'(' * 100):
            with self.subTest(data):
                self.refused(data, '^malformed pickle: ')

    def test_writing(self):
        class Vote:
            pass
        for value, what in ((Vote(), 'Vote'), (len, 'builtins.len'), ([int], 'builtins.int'),
                            ({'a': lambda: 1}, 'lambda'), (object(), 'builtins.object')):
            with self.assertRaisesRegex(values.Refused, what):
                values.dumps(value)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
