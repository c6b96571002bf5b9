"""Python's `websockets` at the tasks of `cargo xtask bench`: receive URL COUNT, or send URL COUNT SIZE."""

import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect


async def main() -> None:
    what, url, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
    warm_up = total // 10
    async with connect(url, compression=None, max_size=None) as socket:
        message = b"x" * int(sys.argv[4]) if what == "send" else b""
        for seen in range(total):
            if seen == warm_up:
                cpu, wall = time.process_time(), time.perf_counter()
            if what == "send":
                await socket.send(message)
            else:
                await socket.recv()
        measured = total - warm_up
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps({"cpu_ns": cpu * 1e9 / measured, "per_s": measured / wall}), flush=True)


asyncio.run(main())
