"""Our own MPyC programs give the right answers, to the right parties, and refuse wrong inputs."""

import re
import unittest

from fake_runner import PROGRAMS, RunTestCase

WITHOUT = ['--no-numpy', '--no-gmpy2', '--no-uvloop']


class OwnPrograms(RunTestCase):
    def outputs(self, program, parties, **settings):
        return [party.output for party in self.run_program(PROGRAMS / program, parties, **settings)]

    def all_print(self, program, lines, inputs, **settings):
        self.assertEqual(self.outputs(program, len(inputs), inputs=inputs, **settings), [lines] * len(inputs))

    def refuses(self, program, inputs, message, **settings):
        """Every party has the same wrong input, so that none waits for another."""
        for party in self.run_program(PROGRAMS / program, len(inputs), statuses=1, inputs=inputs, **settings):
            self.assertRegex(party.errors, message)
            self.assertNotIn('Traceback', party.errors)

    def test_millionaires(self):
        for options in ([], WITHOUT):
            self.all_print('millionaires.py', ['The richest is party 1.'], ['5', ' 999999999999\n', '6'],
                           options=options)
        self.all_print('millionaires.py', ['The richest is party 0.'], ['7', '7'])
        for wrong in ('', '-1', '1.5', 'much', '1000000000000'):
            self.refuses('millionaires.py', [wrong, wrong], '^The wealth must be')

    def test_auction(self):
        for options in ([], WITHOUT):
            self.all_print('auction.py', ['Party 2 wins and pays 30.'], ['10', '30', '999999999'], options=options)
        self.all_print('auction.py', ['Party 0 wins and pays 4.'], ['4', '4', '0'])
        self.all_print('auction.py', ['Party 1 wins and pays 0.'], ['0', '8'])
        for wrong in ('', '-1', '1000000000'):
            self.refuses('auction.py', [wrong, wrong], '^The bid must be')

    def test_voting(self):
        for options in ([], WITHOUT):
            self.all_print('voting.py', ['yes: 2', 'no: 1'], ['yes', 'no\n', ' yes'], options=options)
        self.all_print('voting.py', ['red: 0', 'green: 1', 'light blue: 1'], ['green', 'light blue'],
                       arguments=['red', 'green', 'light blue'])
        self.refuses('voting.py', ['maybe', 'maybe'], '^The vote must be one of: yes, no')
        self.refuses('voting.py', ['a', 'a'], '^There must be at least two options', arguments=['a'])

    def test_secret_santa(self):
        for parties, settings in ((3, {}), (3, {'options': WITHOUT}), (4, {'arguments': ['4']})):
            outputs = self.outputs('secret_santa.py', parties, **settings)
            pairs = [re.fullmatch(r'You are party (\d)\. Your present goes to party (\d)\.', line)
                     for output in outputs for line in output]
            self.assertEqual([int(pair[1]) for pair in pairs], list(range(parties)))
            self.assertEqual(sorted(int(pair[2]) for pair in pairs), list(range(parties)))
            self.assertFalse([pair[0] for pair in pairs if pair[1] == pair[2]])
        self.refuses('secret_santa.py', ['', ''], '^Secret Santa takes at least three parties')
        self.refuses('secret_santa.py', ['', '', ''], '^The argument asks for 4 parties', arguments=['4'])

    def test_regression(self):
        """Against the coefficients worked out in the open."""
        a, b, c = [1, 2, 3, 4, 5, 9], [1000, -300, 250, 0, 70, -90], [0.01, 0.03, 0.02, 0.07, 0.05, 0.09]
        noise = [0.1, -0.2, 0.15, 0.05, -0.1, 0.2]
        target = [50 + 3 * x - 0.01 * y + 40 * z + e for x, y, z, e in zip(a, b, c, noise)]
        tables = ['\n'.join([names, *(', '.join(map(str, row)) for row in zip(*columns))])
                  for names, columns in (('age', [a]), ('target, dose', [target, b]), ('share', [c]))]
        expected = ridge_regression([a, b, c], target, 0.001)
        for options in ([], WITHOUT):
            for output in self.outputs('regression.py', 3, inputs=tables, options=options):
                numbers = [float(re.search(r'[-+]?\d+\.\d+', line)[0]) for line in output]
                for found, right in zip(numbers, expected, strict=True):
                    self.assertAlmostEqual(found, right, delta=0.001)
                self.assertEqual([line.rpartition('· ')[2] for line in output[1:]],
                                 ['age (of party 0)', 'dose (of party 1)', 'share (of party 2)'])

    def test_regression_refuses(self):
        for wrong, message in (('', 'must begin with'), ('a,a\n1,2', 'must begin with'), ('a,b\n1', 'as long'),
                               ('a\nb\n', 'must hold numbers'), ('a\n1\n2', 'Column a'), ('a\n1\n1\n1', 'Column a'),
                               ('a\n1\n2\nnan', 'Column a'), ('a\n1\n2\n3', 'All tables need'),
                               ('target\n1\n2\n3', 'All tables need')):
            self.refuses('regression.py', [wrong, wrong], message)
        self.refuses('regression.py', ['target\n1\n2\n3', 'a\n1\n2\n3\n4'], 'party 1 has a, 4 cases')
        self.refuses('regression.py', ['a\n1\n2\n3'] * 2, '^The ridge must be', arguments=['--ridge', '0'])

    def test_examples(self):
        for program in ('millionaires.py', 'auction.py', 'voting.py', 'secret_santa.py', 'regression.py'):
            for output in self.outputs(program, 3, arguments=['--example']):
                self.assertTrue(output)

    def test_no_input(self):
        for program in ('millionaires.py', 'auction.py', 'voting.py', 'regression.py'):
            for party in self.run_program(PROGRAMS / program, 2, statuses=1):
                self.assertRegex(party.errors, '^No .* given: name a .* private input .*--example')


def ridge_regression(columns, target, ridge):
    """Intercept and coefficients of ridge regression on columns of mean 0 and length 1."""
    def centred(column):
        return [x - sum(column) / len(column) for x in column]

    def product(x, y):
        return sum(a * b for a, b in zip(x, y))

    lengths = [product(centred(x), centred(x))**0.5 for x in columns]
    units = [[x / length for x in centred(column)] for column, length in zip(columns, lengths)]
    rows = [[product(x, y) + ridge * (x is y) for y in units] + [product(x, centred(target))] for x in units]
    for i in range(len(rows)):  # Gauss–Jordan
        row = [a / rows[i][i] for a in rows[i]]
        rows = [row if j == i else [a - other[i] * b for a, b in zip(other, row)] for j, other in enumerate(rows)]
    weights = [row[-1] / length for row, length in zip(rows, lengths)]
    return [sum(target) / len(target) - sum(w * sum(x) / len(x) for w, x in zip(weights, columns)), *weights]


if __name__ == '__main__':
    unittest.main()
