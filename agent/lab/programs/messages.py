"""Sends messages that the receiver knows, and compares every byte.

usage: messages.py SEED

In each round every party sends every other a message of its own: random bytes
that follow from the seed, the two and the round, up to half a megabyte. What is
received is compared with what should have been sent. The rounds end when all
parties have been told to stop, by a line on standard input or the end of it;
who has been told travels with the messages.

Prints «running» once MPyC is connected, «round N» now and then, and at the end
for each peer a digest of all that was sent to it and all that came from it.
"""

import asyncio
import hashlib
import itertools
import random
import select
import sys

from mpyc.runtime import mpc

DOUBLINGS = 19  # sizes go up to 2 ** DOUBLINGS bytes, then begin again
REPORT = 10     # rounds from one line of output to the next
PAUSE = 0.01    # seconds; leaves the processor to others


def message(sender, receiver, number):
    """What this party sends to that one in this round."""
    source = random.Random(f'{sys.argv[1]} {sender} {receiver} {number}')
    size = 2 ** (number % DOUBLINGS)
    return source.randbytes(source.randrange(size, 2 * size))


async def exchange(pairs, number, told):
    """The messages of this round, by sender, for this party: sent and received."""
    me, sent, under_way = mpc.pid, {}, {}
    for sender, receiver in pairs:
        if sender == me:
            sent[receiver] = message(sender, receiver, number)
        # MPyC counts these calls: all parties make all of them in the same order.
        arrival = mpc.transfer((told, sent.get(receiver)), [sender], [receiver])
        if receiver == me:
            under_way[sender] = arrival
    return sent, {sender: (await arrival)[0] for sender, arrival in under_way.items()}


async def main():
    await mpc.start()
    print('running', flush=True)
    me, everybody = mpc.pid, range(len(mpc.parties))
    pairs = list(itertools.permutations(everybody, 2))
    digests = {(way, peer): hashlib.sha256() for way in ('to', 'from') for peer in everybody if peer != me}
    number, all_told = 0, False
    while not all_told:
        told = bool(select.select([sys.stdin], [], [], 0)[0])
        sent, received = await exchange(pairs, number, told)
        for peer, data in sent.items():
            digests['to', peer].update(data)
        for peer, (_, data) in received.items():
            assert data == message(peer, me, number), f'round {number}: not what party {peer} has sent'
            digests['from', peer].update(data)
        all_told = told and all(theirs for theirs, _ in received.values())
        number += 1
        if number % REPORT == 0:
            print('round', number, flush=True)
        await asyncio.sleep(PAUSE)
    for (way, peer), digest in digests.items():
        print(way, peer, digest.hexdigest())
    await mpc.shutdown()


mpc.run(main())
