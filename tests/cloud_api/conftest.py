"""A PostgreSQL for the whole run, and a database of its own for each test, cloned from one that was migrated once.

`TEST_DATABASE_URL` names a server to use instead of the embedded one; its login must be able to make databases and roles.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from httpx import AsyncClient

from cloud_api import deps as wiring
from cloud_api.db import Database
from cloud_api.deps import Deps
from cloud_api.embedded import embedded
from cloud_api.migrating import migrate
from cloud_api.settings import Settings, load
from tests.cloud_api.clients import client_of, open_connections
from tests.cloud_api.homes import copy_of, made_home

__all__ = ["made_home"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def home(made_home: Path) -> Iterator[Path]:
    """A data folder of this test's own."""
    with copy_of(made_home) as copy:
        yield copy


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server; its own database is not for tests."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with (
        copy_of(request.getfixturevalue("made_home")) as home,
        embedded(home, durable=False) as server,
    ):
        yield server.url()


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    with new_database(server_url) as url:
        migrate(url)
        yield urlsplit(url).path[1:]


@pytest.fixture
def database_url(server_url: str, template: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    with new_database(server_url, template) as url:
        yield url


@pytest.fixture
def empty_database_url(server_url: str) -> Iterator[str]:
    with new_database(server_url) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, connections_max=4) as database:
        yield database


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"SUNAIVA_CLOUD_HOME": str(tmp_path)})


@pytest.fixture
def deps(settings: Settings, database_url: str) -> Deps:
    return wiring.build(settings, database_url)


@pytest.fixture
async def client(deps: Deps) -> AsyncIterator[AsyncClient]:
    """The whole API, without a socket."""
    async with client_of(deps) as opened:
        yield opened


@pytest.fixture
async def at_once(client: AsyncClient, deps: Deps) -> None:
    """What is asked at the same moment is done at the same moment: each has a connection."""
    await open_connections(deps.db)


@contextmanager
def new_database(server_url: str, template: str | None = None) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    clone = f" TEMPLATE {template}" if template else ""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{clone}")
    try:
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            try:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            except psycopg.errors.InsufficientPrivilege:
                # It is being vacuumed, by nobody whom this login may end; without FORCE PostgreSQL does that itself.
                connection.execute(f"DROP DATABASE {name}")
