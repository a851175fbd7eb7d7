"""Adds secret arrays, and multiplies one by its transpose: numpy inside the sandbox."""
from mpyc.numpy import np
from mpyc.runtime import mpc

secint = mpc.SecInt(32)
mpc.run(mpc.start())
own = secint.array(np.arange(6).reshape(2, 3) + mpc.pid)
first, second, third = mpc.input(own)
total = first + second + third
print("arrays", mpc.run(mpc.output(total @ total.T)).tolist())
mpc.run(mpc.shutdown())
