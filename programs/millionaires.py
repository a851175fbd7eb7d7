"""Who is the richest? Yao's millionaires' problem, for any number of parties.

Each party gives its wealth, a whole number. All parties learn who is the richest (of equals, the
one with the lowest number) and nothing else: no amount, no order of the others, no distance.

Private input: one whole number from 0 to 999999999999.
"""

import argparse
import os
import sys

from mpyc.runtime import mpc

LIMIT = 10**12


def private_input(example):
    """This party's wealth as text: made up, from the file of this session, or typed in."""
    if example:
        return str(1000 * (mpc.pid * 7 % 5) + 500)
    if path := os.environ.get('MPYC_PARTY_INPUT'):
        with open(path, encoding='utf-8') as file:
            return file.read()
    try:
        return input('Your wealth: ')
    except EOFError:
        sys.exit('No wealth given: name a file that holds it as the private input of this party, '
                 'or try the program with --example.')


def parse(text):
    """Check the wealth here, since nobody else will ever see it."""
    try:
        wealth = int(text)
    except ValueError:
        sys.exit('The wealth must be one whole number, such as 250000.')
    if not 0 <= wealth < LIMIT:
        sys.exit(f'The wealth must be at least 0 and less than {LIMIT}.')
    return wealth


async def main(wealth):
    secint = mpc.SecInt(LIMIT.bit_length() + 1)
    async with mpc:
        all_wealth = mpc.input(secint(wealth))  # as shares: no party holds the wealth of another
        richest, _ = mpc.argmax(all_wealth)
        print(f'The richest is party {await mpc.output(richest)}.')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--example', action='store_true', help='use a made-up wealth')
    mpc.run(main(parse(private_input(parser.parse_args().example))))
