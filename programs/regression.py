"""Ridge regression on data about the same cases, of which each party holds some columns.

A hospital knows the treatment, an insurer the costs, neither may show its table to the other. All
parties learn the names of the columns, the number of cases, and the coefficients of the linear
model that explains the target by all other columns; the tables stay secret. The coefficients say
something about the data, of course; with as many columns as cases they say nearly everything.

Private input: a table as CSV. The first line has the names of the columns, then one line a case; all
parties list the same cases in the same order. Exactly one party has a column «target». Choose units
in which numbers are neither huge nor tiny (at most 1000000, spread at least 0.001).
"""

import argparse
import csv
import io
import math
import os
import random
import sys

from mpyc.runtime import mpc

TARGET = 'target'
secfxp = mpc.SecFxp(80, 40)


def private_input(example):
    """This party's table as text: made up, from the file of this session, or typed in."""
    if example:
        return made_up()
    if path := os.environ.get('MPYC_PARTY_INPUT'):
        with open(path, encoding='utf-8') as file:
            return file.read()
    if text := sys.stdin.read() if sys.stdin else '':
        return text
    sys.exit('No table given: name a CSV file as the private input of this party, '
             'or try the program with --example.')


def made_up():
    """One column x for each party; party 0 has the target, 10 + 1·x0 + 2·x1 + …"""
    lines = [f'x{mpc.pid}' + f',{TARGET}' * (mpc.pid == 0)]
    for case in range(30):
        xs = [random.Random(f'{party} {case}').uniform(-5, 5) for party in range(len(mpc.parties))]
        target = 10 + sum((party + 1) * x for party, x in enumerate(xs))
        lines.append(f'{xs[mpc.pid]}' + f',{target}' * (mpc.pid == 0))
    return '\n'.join(lines)


def parse(text):
    """The table as a dictionary of columns, checked here, since nobody else will ever see it."""
    names, *rows = [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if row] or [[]]
    if not names or len(set(names)) < len(names) or any(len(row) != len(names) for row in rows):
        sys.exit('The table must begin with a line of different column names, and all lines must be as long.')
    try:
        columns = {name: [float(row[i]) for row in rows] for i, name in enumerate(names)}
    except ValueError as error:
        sys.exit(f'The table must hold numbers below the column names: {error}.')
    for name, column in columns.items():
        if len(column) < 3 or not all(abs(x) <= 10**6 for x in column) or spread(column) < 0.001:
            sys.exit(f'Column {name}: at least three cases, no number beyond 1000000, spread at least 0.001.')
    return columns


def spread(column):
    """The standard deviation."""
    mean = sum(column) / len(column)
    return math.sqrt(sum((x - mean)**2 for x in column) / len(column))


def standard(column):
    """The column moved and scaled to mean 0 and length 1, so that fixed point suits any data."""
    mean, scale = sum(column) / len(column), spread(column) * math.sqrt(len(column))
    return [(x - mean) / scale for x in column]


def solve(a, b):
    """Solve a·x = b; no pivot is near zero, since a is positive definite by the ridge."""
    for i, pivot in enumerate(a):
        inverse = 1 / pivot[i]
        a[i], b[i] = mpc.scalar_mul(inverse, pivot), inverse * b[i]
        for j in range(i + 1, len(a)):
            b[j] -= a[j][i] * b[i]
            a[j] = mpc.vector_sub(a[j], mpc.scalar_mul(a[j][i], a[i]))
    for i in reversed(range(len(a) - 1)):
        b[i] -= mpc.in_prod(a[i][i+1:], b[i+1:])
    return b


def share(numbers, sender, count):
    """Share the sender's numbers among all; the others only know how many there are."""
    numbers = numbers if sender == mpc.pid else [None] * count
    return mpc.input([secfxp(x, integral=False) for x in numbers], senders=sender)


async def main(table, ridge):
    await mpc.start()
    shapes = await mpc.transfer([list(table), len(next(iter(table.values())))])
    cases = shapes[0][1]
    owners = [(party, name) for party, (names, _) in enumerate(shapes) for name in names]
    owners.sort(key=lambda owner: owner[1] == TARGET)  # the target last
    if any(n != cases for _, n in shapes) or sum(name == TARGET for _, name in owners) != 1 or len(owners) < 2:
        await mpc.shutdown()
        sys.exit(f'All tables need the same number of cases, and one alone a column «{TARGET}»: ' + '; '.join(
            f'party {party} has {", ".join(names)}, {n} cases' for party, (names, n) in enumerate(shapes)))

    columns, means, scales = [], [], []
    for party, name in owners:
        own = table[name] if party == mpc.pid else None
        columns.append(share(own and standard(own), party, cases))
        # The spread of the target scales the coefficients, that of any other column divides its own.
        scale = own and (spread(own) if name == TARGET else 1 / spread(own))
        mean, scale = share(own and [sum(own) / cases, scale], party, 2)
        means.append(mean)
        scales.append(scale)
    *columns, target = columns
    products = [[mpc.in_prod(x, y) + ridge * (x is y) for y in columns] for x in columns]
    weights = solve(products, [mpc.in_prod(x, target) for x in columns])
    weights = [weight * scale * scales[-1] for weight, scale in zip(weights, scales)]
    intercept = means[-1] - mpc.in_prod(weights, means[:-1])
    intercept, *weights = await mpc.output([intercept, *weights])
    await mpc.shutdown()
    print(f'{TARGET} = {intercept:.4f}')
    for (party, name), weight in zip(owners, weights):
        print(f'  {weight:+.4f} · {name} (of party {party})')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ridge', type=float, default=0.001, help='strength of the ridge (default: 0.001)')
    parser.add_argument('--example', action='store_true', help='use a made-up table')
    arguments = parser.parse_args()
    if not 0.00001 <= arguments.ridge <= 10:
        sys.exit('The ridge must be from 0.00001 to 10.')
    mpc.run(main(parse(private_input(arguments.example)), arguments.ridge))
