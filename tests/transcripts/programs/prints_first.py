"""Prints before it computes, as many programs do."""

from mpyc.runtime import mpc

print("adding", flush=True)
mpc.run(mpc.start())
print(mpc.run(mpc.output(mpc.input(mpc.SecInt()(mpc.pid)))), flush=True)
mpc.run(mpc.shutdown())
