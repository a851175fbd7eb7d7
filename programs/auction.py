"""A sealed-bid auction in which the winner pays the second highest bid (Vickrey auction).

Each party bids a whole number. All parties learn who wins and what the winner pays, and nothing
else: the winning bid itself and all lower bids stay secret. So it is best to bid what the thing is
worth to oneself. Of equal bids the one of the party with the lowest number wins.

Private input: one whole number from 0 to 999999999.
"""

import argparse
import os
import sys

from mpyc.runtime import mpc

LIMIT = 10**9


def private_input(example):
    """This party's bid as text: made up, from the file of this session, or typed in."""
    if example:
        return str(100 + 10 * (mpc.pid * 7 % 5))
    if path := os.environ.get('MPYC_PARTY_INPUT'):
        with open(path, encoding='utf-8') as file:
            return file.read()
    try:
        return input('Your bid: ')
    except EOFError:
        sys.exit('No bid given: name a file that holds it as the private input of this party, '
                 'or try the program with --example.')


def parse(text):
    """Check the bid here, since nobody else will ever see it."""
    try:
        bid = int(text)
    except ValueError:
        sys.exit('The bid must be one whole number, such as 120.')
    if not 0 <= bid < LIMIT:
        sys.exit(f'The bid must be at least 0 and less than {LIMIT}.')
    return bid


async def main(bid):
    secint = mpc.SecInt(LIMIT.bit_length() + 1)
    async with mpc:
        bids = mpc.input(secint(bid))
        winner, highest = mpc.argmax(bids)
        won = mpc.unit_vector(winner, len(bids))  # secret: 1 for the winner, 0 for the others
        price = mpc.max(mpc.vector_sub(bids, mpc.scalar_mul(highest, won)))
        winner, price = await mpc.output([winner, price])
        print(f'Party {winner} wins and pays {price}.')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--example', action='store_true', help='use a made-up bid')
    mpc.run(main(parse(private_input(parser.parse_args().example))))
