"""Secret Santa: draw lots for who gives a present to whom.

Each party learns to whom it gives, and nothing else: not who gives to it, nor any other pair. Nobody
draws itself, and all such draws are equally likely. It takes at least three parties (among two the
draw would be no secret), and no private input.

The optional argument is how many parties there should be; the program ends if there are others.
"""

import argparse
import sys

from mpyc.runtime import mpc


async def main(parties):
    secint = mpc.SecInt(32)
    async with mpc:
        # A random permutation without fixed points, shared among all: no party knows any of it.
        receivers = mpc.random.random_derangement(secint, parties)
        for giver, receiver in enumerate(receivers):
            receiver = await mpc.output(receiver, receivers=giver)
            if giver == mpc.pid:
                print(f'You are party {giver}. Your present goes to party {receiver}.')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parties', nargs='?', type=int, help='how many parties there should be')
    parser.add_argument('--example', action='store_true', help='changes nothing: there is no private input')
    arguments = parser.parse_args()
    parties = len(mpc.parties)
    if parties < 3:
        sys.exit('Secret Santa takes at least three parties.')
    if arguments.parties not in (None, parties):
        sys.exit(f'The argument asks for {arguments.parties} parties, this session has {parties}.')
    mpc.run(main(parties))
