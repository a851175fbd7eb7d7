"""Tells the sum of the parties' inputs, each a number in a file."""

import os

from mpyc.runtime import mpc

secint = mpc.SecInt()
with open(os.environ['MPYC_PARTY_INPUT']) as file:
    own = int(file.read())
mpc.run(mpc.start())
print('the sum is', mpc.run(mpc.output(mpc.sum(mpc.input(secint(own))))))
mpc.run(mpc.shutdown())
