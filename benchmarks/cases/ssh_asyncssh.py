"""The command `true` on N hosts by asyncssh alone. usage: N first|second [curve25519]"""

import asyncio
import sys

import asyncssh
from measure import Measure, tree_cpu
from ssh_targets import KEY, PORT, USER, hosts

count, which, more = int(sys.argv[1]), sys.argv[2], {}
if sys.argv[3:]:
    more["kex_algs"] = ["curve25519-sha256"]
WINDOW = 64


async def connect(host, window):
    async with window:
        return await asyncssh.connect(
            host, int(PORT), username=USER, client_keys=[KEY], known_hosts=None, config=None, **more
        )


async def run(connection):
    assert (await connection.run("true")).exit_status == 0


async def main():
    window = asyncio.Semaphore(WINDOW)
    (await connect("127.0.0.254", window)).close()
    with Measure() as measure:
        before = tree_cpu()
        connections = await asyncio.gather(*(connect(host, window) for host in hosts(count)))
        await asyncio.gather(*map(run, connections))
        measure.extra["tree"] = tree_cpu() - before
        if which == "second":
            before = tree_cpu()
            measure.begin_again()
            await asyncio.gather(*map(run, connections))
            measure.extra["tree"] = tree_cpu() - before
    for connection in connections:
        connection.close()


asyncio.run(main())
