"""Fails at carol, who is the third to join."""

from mpyc.runtime import mpc


async def main() -> None:
    await mpc.start()
    if mpc.pid == 2:
        raise ValueError("not my day")
    print(await mpc.output(mpc.input(mpc.SecInt()(mpc.pid))), flush=True)
    await mpc.shutdown()


mpc.run(main())
