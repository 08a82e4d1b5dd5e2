"""The whole API without a socket, in the test's own event loop, where many requests are on their way at once; Litestar's own asynchronous
client sends one after another, whatever is gathered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx import ASGITransport, AsyncClient

from cloud_api import deps as wiring
from cloud_api.app import create_app
from cloud_api.db import Database
from cloud_api.deps import Deps

AT_ONCE = 4
# No address, so that all of them come from the network `unknown`.
_PEER = ("client", 0)
_HELD_SECONDS = 0.1


@asynccontextmanager
async def client_of(deps: Deps, *, raises: bool = True) -> AsyncIterator[AsyncClient]:
    """`raises`: what the API does not answer is raised in the test."""
    transport = ASGITransport(create_app(deps), raise_app_exceptions=raises, client=_PEER)  # type: ignore[arg-type] # Litestar's own type of the same
    async with (
        wiring.opened(deps),
        AsyncClient(transport=transport, base_url="http://testserver.local") as client,
    ):
        yield client


async def open_connections(db: Database) -> None:
    """So that what is asked at once has connections at once."""

    async def held() -> None:
        async with db.transaction() as connection:
            await connection.execute("SELECT pg_sleep(%s)", [_HELD_SECONDS])

    await asyncio.gather(*(held() for _ in range(AT_ONCE)))
