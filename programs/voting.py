"""A secret ballot: each party has one vote for one of several options.

All parties learn how many votes each option got, and nothing else: nobody sees the vote of another.
The tally may tell by itself, though: among two parties, or where all vote alike, it shows who voted
for what.

Private input: one of the options, by name. The options are the arguments, «yes» and «no» without any.
"""

import argparse
import os
import sys

from mpyc.runtime import mpc


def private_input(example, options):
    """This party's vote as text: made up, from the file of this session, or typed in."""
    if example:
        return options[mpc.pid % 3 % len(options)]
    if path := os.environ.get('MPYC_PARTY_INPUT'):
        with open(path, encoding='utf-8') as file:
            return file.read()
    try:
        return input(f'Your vote ({", ".join(options)}): ')
    except EOFError:
        sys.exit('No vote given: name a file that holds it as the private input of this party, '
                 'or try the program with --example.')


def parse(text, options):
    """Check the vote here, since nobody else will ever see it."""
    if (vote := text.strip()) not in options:
        sys.exit(f'The vote must be one of: {", ".join(options)}.')
    return vote


async def main(vote, options):
    secint = mpc.SecInt(32)
    async with mpc:
        ballots = mpc.input([secint(option == vote) for option in options])
        tally = await mpc.output([mpc.sum(list(votes)) for votes in zip(*ballots)])
        for option, votes in zip(options, tally):
            print(f'{option}: {votes}')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('options', nargs='*', help='what can be voted for (default: yes no)')
    parser.add_argument('--example', action='store_true', help='use a made-up vote')
    arguments = parser.parse_args()
    options = arguments.options or ['yes', 'no']
    if len(set(options)) < max(2, len(options)):
        sys.exit('There must be at least two options, each named once.')
    mpc.run(main(parse(private_input(arguments.example, options), options), options))
