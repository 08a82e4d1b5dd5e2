"""What a question that goes out in one message promises: the same as a transaction, and nothing is left behind on its connection."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest

from cloud_api.connections import Patience
from cloud_api.db import AccountId, Database, DatabaseUnavailableError, OutcomeUnknownError
from cloud_api.questions import Question

pytestmark = pytest.mark.anyio

ONE = Question("one", "SELECT $1::int", int)
TEXTS = Question("texts", "SELECT text FROM notes ORDER BY text", str)
LENGTH = Question("length", "SELECT length($1::text)", int)
SLEEP = Question("sleep", "SELECT pg_sleep($1::float8)", str)
WRITE = Question("write", "INSERT INTO notes VALUES ($1::uuid, 'x') RETURNING text", str)
WRONG = Question("wrong", "SELECT 1 / $1::int", int)
WHOSE = Question(
    "whose",
    "SELECT current_account()::text, current_user::text, current_setting('transaction_read_only')",
    lambda *row: row,
)


@pytest.fixture
def notes(database_url: str) -> None:
    """A table with personal data."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET ROLE sunaiva_owner")
        connection.execute("CREATE TABLE notes (account_id uuid NOT NULL, text text NOT NULL)")
        connection.execute("SELECT protect('notes')")


@pytest.fixture
async def single(database_url: str) -> AsyncIterator[Database]:
    """With one connection, so that whatever is left on it is found by the next."""
    async with Database(database_url, connections_max=1) as database:
        yield database


@pytest.mark.usefixtures("notes")
async def test_a_question_sees_rows_of_its_account_only(single: Database) -> None:
    mine, yours = AccountId(uuid4()), AccountId(uuid4())
    for account, text in ((mine, "mine"), (yours, "yours")):
        async with single.transaction(account) as connection:
            await connection.execute("INSERT INTO notes VALUES (%s, %s)", [account, text])
    assert await single.ask(mine, TEXTS.of()) == ["mine"]
    assert await single.ask(yours, TEXTS.of()) == ["yours"]
    assert await single.ask(None, TEXTS.of()) == []


@pytest.mark.parametrize(("may_lag", "role"), [(False, "sunaiva_app"), (True, "sunaiva_read")])
async def test_a_question_is_asked_by_a_role_with_few_rights_that_only_reads(
    single: Database, may_lag: bool, role: str
) -> None:
    account = AccountId(uuid4())
    assert await single.ask(account, WHOSE.of(), may_lag=may_lag) == [(str(account), role, "on")]


@pytest.mark.usefixtures("notes")
async def test_a_question_cannot_write(single: Database) -> None:
    account = AccountId(uuid4())
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await single.ask(account, WRITE.of(account))
    assert await single.ask(account, TEXTS.of()) == []


async def test_no_account_is_left_over_after_a_question(single: Database) -> None:
    for _ in range(3):
        await single.ask(AccountId(uuid4()), ONE.of(1))
        async with single.pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT current_account(), current_user, pg_current_xact_id_if_assigned()"
            )
            assert await cursor.fetchone() == (None, "sunaiva_app", None)
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def test_several_questions_are_answered_in_their_order(single: Database) -> None:
    for number in range(3):
        answers = await single.ask_all(None, ONE.of(number), LENGTH.of("four"), ONE.of(7))
        assert answers == [[number], [4], [7]]


async def test_a_question_finds_what_is_prepared_gone_and_is_answered(single: Database) -> None:
    """A ROLLBACK has psycopg deallocate everything, but only once it has prepared something itself."""
    assert await single.ask(None, ONE.of(1)) == [1]
    await deallocated(single)
    async with single.transaction() as connection:
        cursor = await connection.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)
    assert await single.ask_all(None, ONE.of(2), LENGTH.of("abc")) == [[2], [3]]


async def test_a_decision_and_a_question_find_gone_what_the_other_prepared(
    single: Database,
) -> None:
    async def decided() -> list[list[int]]:
        async with single.deciding(None, ONE.of(1)) as transaction:
            transaction.writes.append(LENGTH.of("four"))
        return transaction.found

    assert await decided() == [[1]]
    await deallocated(single)
    assert await single.ask(None, ONE.of(2)) == [2]
    await deallocated(single)
    assert await decided() == [[1]]


async def deallocated(db: Database) -> None:
    """Everything that is prepared on its connection."""

    async def fail() -> None:
        async with db.transaction() as connection:
            for _ in range(10):
                await connection.execute("SELECT %s::int", [1])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()


async def test_after_a_question_that_fails_the_next_is_answered(single: Database) -> None:
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await single.ask_all(None, ONE.of(1), WRONG.of(0), ONE.of(2))
        assert await single.ask(None, ONE.of(3)) == [3]


async def test_a_slow_question_is_cut_off(database_url: str) -> None:
    async with Database(database_url, patience=Patience(statement_seconds=0.1)) as db:
        with pytest.raises(DatabaseUnavailableError):
            await db.ask(None, SLEEP.of(5.0))
        assert await db.ask(None, ONE.of(1)) == [1]


async def test_a_question_given_up_does_not_answer_the_next(
    single: Database, database_url: str
) -> None:
    asking = asyncio.create_task(single.ask(None, SLEEP.of(4.0)))
    async with asyncio.timeout(10), await psycopg.AsyncConnection.connect(database_url) as watcher:
        await watcher.set_autocommit(True)
        while not await _is_sleeping(watcher):
            pass
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await single.ask(None, ONE.of(2)) == [2]


async def _is_sleeping(watcher: psycopg.AsyncConnection) -> bool:
    cursor = await watcher.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    )
    return cursor.rowcount > 0


async def test_a_question_outlives_connections_that_the_server_ended(
    single: Database, database_url: str
) -> None:
    await single.ask(None, ONE.of(1))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert await single.ask(None, ONE.of(2)) == [2]


async def test_a_parameter_larger_than_what_a_socket_takes_arrives_whole(single: Database) -> None:
    assert await single.ask(None, LENGTH.of("x" * 20_000_000)) == [20_000_000]


async def test_a_question_that_may_lag_is_asked_of_the_primary_when_the_replica_is_away(
    database_url: str,
) -> None:
    gone = "postgresql://nobody@127.0.0.1:1/nothing"
    patience = Patience(checkout_seconds=0.2)
    async with Database(database_url, replica_url=gone, patience=patience) as db:
        assert await db.ask(None, ONE.of(1), may_lag=True) == [1]


async def test_the_same_question_is_asked_in_a_transaction_under_way(single: Database) -> None:
    async with single.transaction() as connection:
        assert await ONE.of(5).within(connection) == [5]


@pytest.mark.usefixtures("notes")
async def test_what_is_decided_on_what_was_found_is_written_by_its_account(
    single: Database,
) -> None:
    mine, yours = AccountId(uuid4()), AccountId(uuid4())
    for number in range(3):
        async with single.deciding(mine, TEXTS.of(), ONE.of(number)) as transaction:
            assert transaction.found == [["x"] * number, [number]]
            transaction.writes.append(WRITE.of(mine))
    assert await single.ask(yours, TEXTS.of()) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with single.deciding(mine) as transaction:
            transaction.writes.extend([WRITE.of(mine), WRITE.of(yours)])
    assert await single.ask(mine, TEXTS.of()) == ["x"] * 3


@pytest.mark.usefixtures("notes")
async def test_what_was_decided_against_is_not_written_and_leaves_nothing_behind(
    single: Database,
) -> None:
    mine = AccountId(uuid4())

    async def decide_against() -> None:
        async with single.deciding(mine, TEXTS.of()) as transaction:
            transaction.writes.append(WRITE.of(mine))
            assert await WRITE.of(mine).within(transaction.connection) == ["x"]
            raise LookupError

    for _ in range(3):
        with pytest.raises(LookupError):
            await decide_against()
        async with single.transaction(mine) as connection:
            cursor = await connection.execute("SELECT count(*), current_account() FROM notes")
            assert await cursor.fetchone() == (0, mine)


@pytest.mark.usefixtures("notes")
async def test_a_connection_that_breaks_before_commit_leaves_the_outcome_unknown(
    single: Database, database_url: str
) -> None:
    mine = AccountId(uuid4())

    async def write_and_break() -> None:
        async with single.deciding(mine, ONE.of(1)) as transaction:
            transaction.writes.append(WRITE.of(mine))
            pid = transaction.connection.info.backend_pid
            with psycopg.connect(database_url) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    with pytest.raises(OutcomeUnknownError):
        await write_and_break()
    assert await single.ask(mine, TEXTS.of()) == []


async def test_a_write_that_is_cut_off_was_not_done(database_url: str) -> None:
    async with Database(database_url, patience=Patience(statement_seconds=0.1)) as db:
        with pytest.raises(DatabaseUnavailableError):
            async with db.deciding(None, ONE.of(1)) as transaction:
                transaction.writes.append(SLEEP.of(5.0))
        assert await db.ask(None, ONE.of(1)) == [1]
