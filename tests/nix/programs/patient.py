"""Computes a sum again and again, until a file is beside the packages at a party: of what the program
sees of a machine, that is what changes while it runs."""

import pathlib
import time

import mpyc
from mpyc.runtime import mpc

signal = pathlib.Path(mpyc.__file__).parents[1] / 'enough'
secint = mpc.SecInt()
mpc.run(mpc.start())
print('computing')
while True:
    if mpc.run(mpc.output(mpc.sum(mpc.input(secint(signal.exists()))))):
        break
    time.sleep(0.05)
mpc.run(mpc.shutdown())
