"""Computes a sum again and again, until a party's input is no longer empty."""

import os
import time

from mpyc.runtime import mpc

secint = mpc.SecInt()
mpc.run(mpc.start())
print('computing')
while True:
    with open(os.environ['MPYC_PARTY_INPUT']) as file:
        ready = bool(file.read())
    if mpc.run(mpc.output(mpc.sum(mpc.input(secint(ready))))):
        break
    time.sleep(0.05)
mpc.run(mpc.shutdown())
