"""Measures MPC rounds: sequential multiplications of a secret number.

usage: rounds.py MULTIPLICATIONS BATCHES (and MPyC's own options)

A multiplication of two secrets takes one round: every party sends every other
one share and waits for theirs. Each product here needs the one before, so that
nothing overlaps, and the time per multiplication is the time per round. Prints
two lines of JSON: when MPyC is connected, and at the end the microseconds per
round of every batch.
"""

import asyncio
import json
import sys
import time

from mpyc.runtime import mpc


def report(**what):
    print(json.dumps(what), flush=True)


async def batch(x, multiplications):
    """Microseconds per round."""
    await mpc.barrier()
    begun = time.perf_counter()
    y = x
    for _ in range(multiplications):
        y = y * x
        await mpc.gather(y)
    return (time.perf_counter() - begun) / multiplications * 1e6


async def main():
    multiplications, batches = (int(argument) for argument in sys.argv[1:3])
    await mpc.start()
    loop = type(asyncio.get_running_loop()).__module__.split('.')[0]
    report(connected=time.monotonic(), loop=loop)
    number = mpc.SecInt(32)
    x = mpc.input(number(1), senders=0)
    await batch(x, multiplications // 4)
    report(microseconds=[await batch(x, multiplications) for _ in range(batches)])
    assert await mpc.output(x * x) == 1
    await mpc.shutdown()


mpc.run(main())
