"""Whether WebSockets that say nothing stay open behind proxies.

    silence.py SECONDS NAME=URL...

Opens all of them, is silent for so long, and prints `NAME open` for each that still echoes
afterwards, and `NAME cut MILLISECONDS` for each that ended before.
"""

import asyncio
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def is_silent(seconds, name, url):
    async with connect(url, ping_interval=None) as socket:
        started = time.monotonic()
        try:
            message = await asyncio.wait_for(socket.recv(), seconds)
            return f"{name} spoke {message!r}"
        except asyncio.TimeoutError:
            await socket.send("still here")
            return f"{name} open" if await socket.recv() == "still here" else f"{name} garbled"
        except ConnectionClosed:
            return f"{name} cut {(time.monotonic() - started) * 1000:.0f}"


async def main():
    seconds, *named = sys.argv[1:]
    pairs = [pair.split("=", 1) for pair in named]
    found = await asyncio.gather(
        *(is_silent(float(seconds), name, url) for name, url in pairs), return_exceptions=True
    )
    for (name, _), result in zip(pairs, found):
        print(result if isinstance(result, str) else f"{name} failed {result!r}")


asyncio.run(main())
