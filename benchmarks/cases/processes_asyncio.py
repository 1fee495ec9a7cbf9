"""N short processes with captured output, by asyncio, 200 at a time. usage: N"""

import asyncio
import sys

from measure import Measure

count = int(sys.argv[1])


async def one(room):
    async with room:
        process = await asyncio.create_subprocess_exec(
            "/bin/true", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        await process.communicate()
        assert process.returncode == 0


async def main():
    room = asyncio.Semaphore(200)
    with Measure():
        await asyncio.gather(*(one(room) for _ in range(count)))


asyncio.run(main())
