"""Computes, round after round, until every party has been told to stop.

Each party is told by a line on its standard input, or by the end of it. Whether
all have been told is itself the sum that is computed in each round, so that all
stop after the same one. Prints «running» once MPyC is connected, and the number
of rounds at the end.
"""

import asyncio
import select
import sys

from mpyc.runtime import mpc


async def main():
    await mpc.start()
    print('running', flush=True)
    number = mpc.SecInt(32)
    rounds, told = 0, 0
    while told < len(mpc.parties):
        asked, _, _ = select.select([sys.stdin], [], [], 0)
        told = await mpc.output(mpc.sum(mpc.input(number(len(asked)))))
        rounds += 1
        await asyncio.sleep(0.02)
    print('rounds', rounds)
    await mpc.shutdown()


mpc.run(main())
