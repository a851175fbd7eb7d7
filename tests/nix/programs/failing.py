"""Fails at the second party."""

import sys

from mpyc.runtime import mpc

mpc.run(mpc.start())
if mpc.pid == 1:
    sys.exit('nothing works here')
mpc.run(mpc.shutdown())
