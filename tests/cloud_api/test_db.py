"""What a transaction promises."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest

from cloud_api.connections import Patience, taking
from cloud_api.db import AccountId, Connection, Database, DatabaseUnavailableError
from cloud_api.embedded import embedded
from cloud_api.questions import Question

pytestmark = pytest.mark.anyio


@pytest.fixture
def notes(database_url: str) -> None:
    """A table with personal data."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET ROLE sunaiva_owner")
        connection.execute("CREATE TABLE notes (account_id uuid NOT NULL, text text NOT NULL)")
        connection.execute("SELECT protect('notes')")


async def _write(connection: Connection, account: AccountId, text: str) -> None:
    await connection.execute("INSERT INTO notes VALUES (%s, %s)", [account, text])


async def _texts(connection: Connection) -> list[str]:
    return [
        text for (text,) in await (await connection.execute("SELECT text FROM notes")).fetchall()
    ]


@pytest.mark.usefixtures("notes")
async def test_a_transaction_sees_rows_of_its_account_only(db: Database) -> None:
    mine, yours = AccountId(uuid4()), AccountId(uuid4())
    for account, text in ((mine, "mine"), (yours, "yours")):
        async with db.transaction(account) as connection:
            await _write(connection, account, text)
    async with db.reading(mine) as connection:
        assert await _texts(connection) == ["mine"]
    async with db.reading() as connection:
        assert await _texts(connection) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with db.transaction(mine) as connection:
            await _write(connection, yours, "forged")


@pytest.mark.usefixtures("notes")
async def test_what_raises_is_rolled_back_and_the_connection_serves_the_next(db: Database) -> None:
    account = AccountId(uuid4())

    async def fail() -> None:
        async with db.transaction(account) as connection:
            await _write(connection, account, "gone")
            raise LookupError

    for _ in range(20):
        with pytest.raises(LookupError):
            await fail()
    async with db.transaction(account) as connection:
        assert await _texts(connection) == []


async def test_reading_cannot_write(db: Database) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        async with db.reading() as connection:
            await connection.execute("INSERT INTO events (name, body) VALUES ('some.thing', '{}')")


async def test_no_account_is_left_over_on_a_connection(database_url: str) -> None:
    async with Database(database_url, connections_max=2) as db:
        for _ in range(4):
            async with db.transaction(AccountId(uuid4())):
                pass
        async with db.pool.connection() as connection:
            cursor = await connection.execute("SELECT current_account(), current_user")
            assert await cursor.fetchone() == (None, "sunaiva_app")


async def test_an_exhausted_pool_is_unavailable_and_recovers(database_url: str) -> None:
    patience = Patience(checkout_seconds=0.2)
    async with Database(database_url, connections_max=2, patience=patience) as db:
        async with db.transaction(), db.transaction():
            with pytest.raises(DatabaseUnavailableError):
                async with db.transaction():
                    raise AssertionError("there was a third")
        async with db.transaction() as connection:
            await connection.execute("SELECT 1")


async def test_a_slow_statement_is_cut_off(database_url: str) -> None:
    async with Database(database_url, patience=Patience(statement_seconds=0.1)) as db:
        with pytest.raises(DatabaseUnavailableError):
            async with db.transaction() as connection:
                await connection.execute("SELECT pg_sleep(5)")


async def test_what_takes_long_is_waited_for_and_the_next_is_cut_off_again(
    database_url: str,
) -> None:
    patience = Patience(statement_seconds=0.2, silence_seconds=0.2)
    async with Database(database_url, connections_max=1, patience=patience) as db:
        async with db.transaction() as connection, taking(connection, 10):
            await connection.execute("SELECT pg_sleep(0.6)")
        with pytest.raises(DatabaseUnavailableError):
            async with db.transaction() as connection:
                await connection.execute("SELECT pg_sleep(5)")


@contextmanager
def _frozen(home: Path) -> Iterator[None]:
    """The server with all its processes, as when its machine is suspended."""
    postmaster = psutil.Process(
        int((home / "postgresql" / "postmaster.pid").read_text().split()[0])
    )
    pids = [postmaster.pid, *(each.pid for each in postmaster.children(recursive=True))]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_frozen_database_is_unavailable_and_recovers(home: Path) -> None:
    patience = Patience(statement_seconds=0.2, silence_seconds=0.2, checkout_seconds=0.5)
    with embedded(home, durable=False) as server:
        async with Database(server.url(), connections_max=3, patience=patience) as db:
            async with db.transaction(), db.transaction(), db.transaction():
                pass
            with _frozen(home):
                for _ in range(5):
                    async with asyncio.timeout(3):
                        with pytest.raises(DatabaseUnavailableError):
                            async with db.transaction():
                                raise AssertionError("the server answered")
            async with asyncio.timeout(20):
                while not await _works(db):
                    pass


async def test_a_database_that_freezes_during_a_statement_is_unavailable(home: Path) -> None:
    patience = Patience(statement_seconds=0.2, silence_seconds=0.2)
    with embedded(home, durable=False) as server:
        async with Database(server.url(), patience=patience) as db, asyncio.timeout(10):
            with pytest.raises(DatabaseUnavailableError):
                await _freeze_during_a_statement(db, home)


async def test_a_question_to_a_database_that_is_frozen_is_unavailable(home: Path) -> None:
    patience = Patience(statement_seconds=0.2, silence_seconds=0.2)
    one = Question("one", "SELECT 1", int)
    with embedded(home, durable=False) as server:
        async with Database(server.url(), patience=patience) as db, asyncio.timeout(10):
            assert await db.ask(None, one.of()) == [1]
            with _frozen(home), pytest.raises(DatabaseUnavailableError):
                await db.ask(None, one.of())
            while not await _works(db):
                pass


async def _freeze_during_a_statement(db: Database, home: Path) -> None:
    async with db.transaction() as connection:
        with _frozen(home):
            await connection.execute("SELECT 1")


async def _works(db: Database) -> bool:
    try:
        async with db.transaction() as connection:
            await connection.execute("SELECT 1")
    except DatabaseUnavailableError:
        return False
    return True


async def test_connections_that_the_server_ended_are_replaced_unnoticed(
    db: Database, database_url: str
) -> None:
    async with db.transaction(), db.transaction(), db.transaction():
        pass
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    async with db.transaction() as fresh:
        cursor = await fresh.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)


async def test_a_request_given_up_leaves_no_transaction_behind(
    db: Database, database_url: str
) -> None:
    async def slow() -> None:
        async with db.transaction() as connection:
            await connection.execute("SELECT pg_sleep(4)")

    task = asyncio.create_task(slow())
    async with asyncio.timeout(10), await psycopg.AsyncConnection.connect(database_url) as watcher:
        while await _states(watcher) != ["active"]:
            pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await _states(watcher) == ["idle"]


async def _states(watcher: Connection) -> list[str]:
    """Of connections whose transaction has slept, or whose last statement ended it."""
    cursor = await watcher.execute(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND (query = 'SELECT pg_sleep(4)' OR query = 'ROLLBACK')"
    )
    found = [state for (state,) in await cursor.fetchall()]
    await watcher.rollback()  # the view is of one moment for the length of a transaction
    return found
