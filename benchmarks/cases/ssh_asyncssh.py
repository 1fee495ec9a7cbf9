"""The command `true` on N hosts by asyncssh alone. usage: N first|second [curve25519|guarded]

"guarded": with a second session for each host which ends what is left there, as regisseur has it.
"""

import asyncio
import sys

import asyncssh
from measure import Measure, tree_cpu
from ssh_targets import KEY, PORT, USER, hosts

from regisseur.protocols.remote_shell import supervisor, wrapped

count, which, how = int(sys.argv[1]), sys.argv[2], sys.argv[3:4]
more = {"kex_algs": ["curve25519-sha256"]} if how == ["curve25519"] else {}
command = wrapped("true", "abcdef.1") if how == ["guarded"] else "true"
WINDOW = 64


async def connect(host, window):
    async with window:
        connection = await asyncssh.connect(
            host, int(PORT), username=USER, client_keys=[KEY], known_hosts=None, config=None, **more
        )
    if how == ["guarded"]:
        guard = await connection.create_process(supervisor("abcdef"))
        await guard.stdout.readuntil("ready\n")
    return connection


async def run(connection):
    assert (await connection.run(command)).exit_status == 0


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
