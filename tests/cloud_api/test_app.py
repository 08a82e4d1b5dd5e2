"""The application while its database is away, busy or full: it says so, nothing is half done, and afterwards all is well."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from litestar import post
from litestar.di import NamedDependency
from msgspec import structs

from cloud_api import deps as wiring
from cloud_api.app import create_app
from cloud_api.connections import Patience
from cloud_api.db import Database
from cloud_api.deps import Deps
from cloud_api.embedded import embedded
from cloud_api.settings import Settings

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
CONNECTIONS = 2


@post("/notes", opt={"idempotent": True})
async def note(db: NamedDependency[Database]) -> None:
    """Two writes, which are both there or neither."""
    async with db.transaction() as connection:
        for name in ("tests.first", "tests.second"):
            await connection.execute("INSERT INTO events (name, body) VALUES (%s, '{}')", [name])


@asynccontextmanager
async def _client(settings: Settings, url: str) -> AsyncIterator[tuple[Client, Deps]]:
    deps = wiring.build(settings, url)
    quick = Database(url, connections_max=CONNECTIONS, patience=Patience(checkout_seconds=0.3))
    deps = structs.replace(deps, db=quick, routes=[note])
    # In this event loop, where the pool's own work goes on while a request waits; Litestar's client opens it in another.
    transport = httpx.ASGITransport(create_app(deps))  # type: ignore[arg-type] # Litestar's own type of the same
    async with wiring.opened(deps), Client(transport=transport, base_url="http://test") as client:
        yield client, deps


async def _notes(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SET ROLE sunaiva_app")
        cursor = await connection.execute(
            "SELECT count(*) FILTER (WHERE name = 'tests.first'), count(*) FILTER (WHERE name = 'tests.second') "
            "FROM events"
        )
        row = await cursor.fetchone()
    assert row is not None
    first, second = row
    assert first == second
    return int(first)


def _is_unavailable(answer: Any) -> bool:
    return bool(
        answer.status_code == 503
        and answer.headers["retry-after"] == "3"
        and answer.json()["code"] == "database_unavailable"
    )


async def test_while_the_database_is_down_it_is_said_and_afterwards_all_is_well(
    settings: Settings, home: Path
) -> None:
    with embedded(home) as server:
        url = server.url()
    async with _client(settings, url) as (client, _):
        with embedded(home):
            await _ready(client)
            assert (await client.post("/notes")).status_code == 201
        assert _is_unavailable(await client.post("/notes"))
        down = await client.get("/health/ready")
        assert (down.status_code, down.headers["retry-after"]) == (503, "3")
        assert (await client.get("/health/live")).status_code == 200
        with embedded(home):
            await _ready(client)
            assert (await client.post("/notes")).status_code == 201
            assert await _notes(url) == 2


async def _ready(client: Client) -> None:
    async with asyncio.timeout(20):
        while (await client.get("/health/ready")).status_code != 200:
            pass


async def test_with_all_connections_in_use_it_is_said_and_afterwards_all_is_well(
    settings: Settings, database_url: str
) -> None:
    async with _client(settings, database_url) as (client, deps):
        async with AsyncExitStack() as busy:
            for _ in range(CONNECTIONS):
                await busy.enter_async_context(deps.db.transaction())
            assert _is_unavailable(await client.post("/notes"))
        assert (await client.post("/notes")).status_code == 201
        assert await _notes(database_url) == 1


async def test_with_a_full_disk_it_is_said_and_nothing_is_half_written(
    settings: Settings, database_url: str
) -> None:
    """PostgreSQL's own answer to a full disk, given between the first write and the second."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$; "
            "SET ROLE sunaiva_owner; "
            "CREATE TRIGGER disk_is_full BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.name = 'tests.second') "
            "EXECUTE FUNCTION is_full()"
        )
    async with _client(settings, database_url) as (client, _):
        headers = {"idempotency-key": str(uuid4())}
        assert _is_unavailable(await client.post("/notes", headers=headers))
        assert await _notes(database_url) == 0
        with psycopg.connect(database_url) as connection:
            connection.execute("SET ROLE sunaiva_owner; DROP TRIGGER disk_is_full ON events")
        assert (await client.post("/notes", headers=headers)).status_code == 201
        assert await _notes(database_url) == 1
