"""`/metrics` on a port of its own, for Prometheus; whoever reaches this port sees the figures, so it is never published.

Each process has its own figures. With several on one machine each takes the next free port, and Prometheus asks all of
them. It answers GET /metrics and nothing else, reads no body, and must never be where a request of a person arrives.
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from cloud_api.telemetry.metrics import CONTENT_TYPE, Metrics
from shared.errors import UnavailableError

READ_SECONDS = 5.0
HEAD_BYTES_MAX = 8192
# A scraper and a person who looks; more would only be somebody holding connections open.
AT_ONCE_MAX = 8


@asynccontextmanager
async def metrics_shown(
    metrics: Metrics,
    *,
    host: str,
    first_port: int,
    ports: int,
    refresh: Callable[[], Awaitable[None]],
) -> AsyncIterator[int]:
    """Serves the figures while the block runs, on the first free of `ports` ports; yields which.

    `refresh` sets what nobody counts while it happens (pool, jobs), and is called for every scrape.

    Raises:
        UnavailableError: all of these ports are taken.
    """
    busy = asyncio.Semaphore(AT_ONCE_MAX)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with busy, asyncio.timeout(READ_SECONDS):
                asked = await reader.readuntil(b"\r\n\r\n")
                if asked.split(b" ", 2)[:2] == [b"GET", b"/metrics"]:
                    await refresh()
                    writer.write(_answer(b"200 OK", metrics.exposition(), CONTENT_TYPE))
                else:
                    writer.write(_answer(b"404 Not Found", b"Only GET /metrics is here.\n"))
                await writer.drain()
        except (
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ConnectionError,
        ):
            pass  # nobody is there to be told
        finally:
            writer.close()

    server, port = await _bound(answer, host, range(first_port, first_port + ports))
    async with server:
        yield port


def _answer(status: bytes, body: bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = (
        f"content-type: {content_type}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return b"HTTP/1.1 " + status + b"\r\n" + head.encode() + body


_Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _bound(answer: _Answering, host: str, ports: range) -> tuple[asyncio.Server, int]:
    for port in ports:
        try:
            server = await asyncio.start_server(answer, host, port, limit=HEAD_BYTES_MAX)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return server, server.sockets[0].getsockname()[1]
    raise UnavailableError(
        f"No port from {ports.start} to {ports.stop - 1} is free for the figures. Set SUNAIVA_CLOUD_ADMIN_PORT."
    )
