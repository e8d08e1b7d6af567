"""The least that can be done with a pipelining relay: `python -m benchmarks.slow_client PORT CONNECTIONS MAILS BYTES`.

Prints the seconds from the first command to the last reply, the connections being open already.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator

GROUP = b"MAIL FROM:<bounces@gazette.example>\r\nRCPT TO:<reader@example.org>\r\nDATA\r\n"
LINE = b"x" * 74 + b"\r\n"


async def open_link(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection after its EHLO."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO client.example.test\r\n")
    while not (await reader.readline()).startswith(b"250 "):
        pass
    return reader, writer


async def send(link: tuple[asyncio.StreamReader, asyncio.StreamWriter], numbers: Iterator[int], body: bytes) -> None:
    """Send mails over one connection until the numbers are used up."""
    reader, writer = link
    for _ in numbers:
        writer.write(GROUP)
        for _ in range(3):
            await reader.readline()
        writer.write(body)
        await reader.readline()


async def main(port: int, connections: int, mails: int, size: int) -> None:
    """Send so many mails of so many bytes and print how long that took."""
    links = [await open_link(port) for _ in range(connections)]
    numbers = itertools.repeat(0, mails)
    body = LINE * (size // len(LINE)) + b".\r\n"
    began = time.monotonic()
    await asyncio.gather(*(send(link, numbers, body) for link in links))
    print(time.monotonic() - began)
    for _, writer in links:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
