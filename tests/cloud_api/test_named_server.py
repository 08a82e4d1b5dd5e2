"""A PostgreSQL that somebody names by URL: on a port, with a password, and with a login that may do little."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from cloud_api.catalogue import faults
from cloud_api.connections import Patience
from cloud_api.db import Database
from cloud_api.embedded import Server, embedded
from cloud_api.migrating import head, migrate
from shared.errors import ForbiddenError
from tests.cloud_api.conftest import new_database

pytestmark = pytest.mark.anyio

START_SECONDS = 30
NOBODY_THERE = "postgresql://x@127.0.0.1:9/x"


@pytest.fixture
def named_url(home: Path) -> Iterator[str]:
    """As one of a provider: a login that may make roles and databases, and is no superuser."""
    with (
        embedded(home) as server,
        psycopg.connect(server.url("postgres", "postgres"), autocommit=True) as connection,
    ):
        connection.execute("DROP DATABASE sunaiva")
        connection.execute("DROP ROLE sunaiva_owner, sunaiva_app, sunaiva_read, sunaiva_lookup")
        connection.execute("CREATE ROLE boss LOGIN CREATEROLE CREATEDB PASSWORD 'hunter2'")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'hunter2'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"postgresql://boss:hunter2@127.0.0.1:{free.getsockname()[1]}/postgres"
    with _listening(server, url):
        yield url


@contextmanager
def _listening(server: Server, url: str) -> Iterator[None]:
    rules = server.home / "hba.conf"
    rules.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    rules.chmod(0o644)
    port = urlsplit(url).port
    settings = (f"port={port}", "listen_addresses=127.0.0.1", f"hba_file={rules}", "fsync=off")
    process = subprocess.Popen(
        [server.bin / "postgres", "-D", server.cluster, *(f"--{each}" for each in settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=server.cluster,
        env={"PATH": os.defpath, "LC_ALL": "C"},
        user=server.user,
        extra_groups=None if server.user is None else [],
    )
    try:
        for _ in range(START_SECONDS * 50):
            with suppress(psycopg.OperationalError):
                psycopg.connect(url).close()
                break
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        yield
    finally:
        process.kill()
        process.wait()


async def test_a_login_that_may_make_roles_is_enough(named_url: str) -> None:
    with new_database(named_url) as url:
        assert migrate(url) == head()
        with psycopg.connect(url) as connection:
            assert faults(connection) == []
        async with Database(url) as db, db.transaction() as connection:
            await connection.execute("INSERT INTO events (name, body) VALUES ('tests.here', '{}')")


def test_a_login_that_may_not_is_told_what_it_lacks(named_url: str) -> None:
    with (
        new_database(named_url) as url,
        pytest.raises(ForbiddenError, match="CREATEROLE") as refused,
    ):
        migrate(url.replace("boss", "guest"))
    assert "DATABASE_MIGRATION_URL" in str(refused.value)
    assert "hunter2" not in str(refused.value)


async def test_what_is_only_read_comes_from_the_replica(
    database_url: str, empty_database_url: str
) -> None:
    migrate(empty_database_url)  # stands in for a replica that lags behind
    async with Database(database_url, replica_url=empty_database_url) as db:
        async with db.transaction() as connection:
            await connection.execute("INSERT INTO events (name, body) VALUES ('tests.new', '{}')")
        async with db.reading() as connection:
            found = await connection.execute("SELECT FROM events")
            assert found.rowcount == 0


async def test_without_its_replica_the_primary_is_read(database_url: str) -> None:
    patience = Patience(checkout_seconds=0.3)
    async with Database(database_url, replica_url=NOBODY_THERE, patience=patience) as db:
        async with db.reading() as connection:
            cursor = await connection.execute("SELECT current_user")
            assert await cursor.fetchone() == ("sunaiva_read",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            async with db.reading() as connection:
                await connection.execute("DELETE FROM events")
