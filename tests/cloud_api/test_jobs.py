"""Jobs: there exactly when their cause is, tried again, dead in the end, and replayed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import procrastinate
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from cloud_api import jobs
from cloud_api.db import Connection, Database, DatabaseUnavailableError
from cloud_api.jobs import (
    FORGOTTEN_PER_PIECE_MAX,
    PIECES_PER_RUN_MAX,
    Job,
    Task,
    enqueue,
    forget_in_pieces,
    pause_seconds,
)
from shared.clock import system_clock
from shared.errors import InvalidError, UnavailableError

pytestmark = pytest.mark.anyio


class Greeting(Struct, frozen=True):
    name: str


GREET = Task("tests.greet", Greeting, attempts_max=2)
LIMIT_SECONDS = 20.0
_LATER = datetime(2100, 1, 1, tzinfo=UTC)


async def run_all(db: Database, *work: Job) -> None:
    """Every job that is due, as a worker would run them."""
    app = jobs.application(db, work, system_clock)
    async with app.open_async(db.pool):
        await app.run_worker_async(
            wait=False, listen_notify=False, delete_jobs="successful", install_signal_handlers=False
        )


async def _waiting(db: Database, status: str | None = None) -> list[str]:
    async with db.reading() as connection:
        return [
            row.task
            for row in await jobs.jobs_of(connection, status=status)
            if row.task == GREET.name
        ]


_FULL = """
SET ROLE sunaiva_owner;
CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END$$;
CREATE TRIGGER full_disk BEFORE INSERT ON procrastinate_jobs EXECUTE FUNCTION is_full();
"""


@pytest.mark.parametrize("once", [None, "greeting"])
async def test_a_full_disk_is_said_to_be_one_and_not_a_mistake(
    db: Database, database_url: str, once: str | None
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        await owner.execute(_FULL.encode())

    async def ask() -> None:
        async with db.transaction() as connection:
            await enqueue(connection, GREET, Greeting("Ada"), once=once)

    with pytest.raises(DatabaseUnavailableError):
        await ask()


async def test_a_job_is_there_when_its_transaction_was_committed_and_not_before(
    db: Database,
) -> None:
    async with db.transaction() as connection:
        assert await enqueue(connection, GREET, Greeting("Ada"))
        assert await _waiting(db) == []
    assert await _waiting(db) == [GREET.name]


async def test_a_job_of_a_transaction_that_failed_never_was(db: Database) -> None:
    async def fail() -> None:
        async with db.transaction() as connection:
            await enqueue(connection, GREET, Greeting("Ada"))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await _waiting(db) == []


async def test_a_job_asked_for_twice_under_one_name_waits_once(db: Database) -> None:
    async with db.transaction() as connection:
        assert await enqueue(connection, GREET, Greeting("Ada"), once="greet Ada")
        assert not await enqueue(connection, GREET, Greeting("Ada"), once="greet Ada")
        await connection.execute("SELECT 1")
    assert await _waiting(db) == [GREET.name]


async def test_the_worker_runs_a_job_with_what_it_was_given(db: Database) -> None:
    greeted: list[Greeting] = []

    async def greet(greeting: Greeting) -> None:
        greeted.append(greeting)

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("Ada"))
    await run_all(db, Job(GREET, greet))
    assert greeted == [Greeting("Ada")]
    assert await _waiting(db) == []


async def test_a_job_that_keeps_failing_dies_visibly_and_can_be_replayed(db: Database) -> None:
    greeted: list[str] = []
    is_broken = True

    async def greet(greeting: Greeting) -> None:
        greeted.append(greeting.name)
        if is_broken:
            raise UnavailableError("The mail server is away.")

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("Ada"))
    await run_all(db, Job(GREET, greet))
    assert await _waiting(db, "todo") == [GREET.name]  # it pauses before the second attempt
    await _make_due(db)
    await run_all(db, Job(GREET, greet))
    async with db.reading() as connection:
        (dead,) = await jobs.jobs_of(connection, status="failed")
    assert (greeted, dead.task, dead.arguments) == (["Ada", "Ada"], GREET.name, {"name": "Ada"})

    is_broken = False
    async with db.transaction() as connection:
        await jobs.replay(connection, dead.id)
    await run_all(db, Job(GREET, greet))
    assert greeted == ["Ada", "Ada", "Ada"]
    assert await _waiting(db) == []


async def test_a_job_that_cannot_ever_succeed_dies_at_once(db: Database) -> None:
    async def greet(greeting: Greeting) -> None:
        raise InvalidError("Nobody is called that.")

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("Ada"))
    await run_all(db, Job(GREET, greet))
    assert await _waiting(db, "failed") == [GREET.name]


async def test_only_dead_jobs_are_replayed(db: Database) -> None:
    async def attempt() -> None:
        async with db.transaction() as connection:
            await jobs.replay(connection, 1)

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("Ada"))
    with pytest.raises(jobs.JobNotFoundError):
        await attempt()


async def test_a_worker_told_to_stop_finishes_what_it_has_begun(db: Database) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def greet(greeting: Greeting) -> None:
        begun.set()
        await may_end.wait()
        done.append(greeting.name)

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("Ada"))
    async with _working(db, Job(GREET, greet)) as stop:
        await asyncio.wait_for(begun.wait(), LIMIT_SECONDS)
        stopped = asyncio.create_task(stop())
        may_end.set()
        await asyncio.wait_for(stopped, LIMIT_SECONDS)
    assert done == ["Ada"]
    assert await _waiting(db) == []


async def test_what_a_killed_worker_had_begun_is_given_to_another(db: Database) -> None:
    greeted: list[str] = []

    async def greet(greeting: Greeting) -> None:
        greeted.append(greeting.name)

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("Ada"))
        await connection.execute(
            "WITH dead AS (INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour') RETURNING id) "
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM dead)"
        )
    app = jobs.application(db, [Job(GREET, greet)], system_clock)
    async with app.open_async(db.pool):
        await app.tasks[jobs.RECLAIM.name].defer_async(timestamp=0)
    await run_all(db, Job(GREET, greet))
    await _make_due(db)
    await run_all(db, Job(GREET, greet))
    assert greeted == ["Ada"]


async def test_a_job_that_fails_makes_way_for_the_next_that_waits_already(db: Database) -> None:
    async def greet(_: Greeting) -> None:
        async with db.transaction() as connection:
            await enqueue(connection, GREET, Greeting("next"), at=_LATER, once="greet")
        raise UnavailableError("The mail server is away.")

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("first"), once="greet")
    await run_all(db, Job(GREET, greet))
    assert await _arguments(db) == {"next": "todo"}


async def test_jobs_of_a_killed_worker_are_given_to_another_though_the_next_of_one_waits(
    db: Database,
) -> None:
    greeted: list[str] = []

    async def greet(greeting: Greeting) -> None:
        greeted.append(greeting.name)

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("first"), once="greet")
        await connection.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        await enqueue(connection, GREET, Greeting("other"))
        await connection.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        await enqueue(connection, GREET, Greeting("next"), at=_LATER, once="greet")
    app = jobs.application(db, [Job(GREET, greet)], system_clock)
    async with app.open_async(db.pool):
        await app.tasks[jobs.RECLAIM.name].defer_async(timestamp=0)
    await run_all(db, Job(GREET, greet))
    await _make_due(db)
    await run_all(db, Job(GREET, greet))
    assert (sorted(greeted), await _arguments(db)) == (["next", "other"], {})


async def test_a_dead_job_is_not_replayed_beside_the_same_that_waits(db: Database) -> None:
    async def replay() -> None:
        async with db.transaction() as connection:
            (dead,) = await jobs.jobs_of(connection, status="failed")
            await jobs.replay(connection, dead.id)

    async def greet(_: Greeting) -> None:
        raise InvalidError("Nobody is called that.")

    async with db.transaction() as connection:
        await enqueue(connection, GREET, Greeting("first"), once="greet")
    await run_all(db, Job(GREET, greet))
    async with db.transaction() as connection:
        assert await enqueue(connection, GREET, Greeting("next"), once="greet")
    with pytest.raises(jobs.JobWaitsError):
        await replay()


@given(st.integers(0, 1000))
def test_pauses_grow_and_have_an_end(attempts: int) -> None:
    assert pause_seconds(attempts) <= pause_seconds(attempts + 1) <= jobs.RETRY_SECONDS_MAX


async def _arguments(db: Database) -> dict[str, str]:
    """Who is to be greeted, with the status of that job."""
    async with db.reading() as connection:
        found = await jobs.jobs_of(connection)
    return {row.arguments["name"]: row.status for row in found if row.task == GREET.name}


async def _make_due(db: Database) -> None:
    async with db.transaction() as connection:
        await connection.execute(
            "UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo'"
        )


@asynccontextmanager
async def _working(
    db: Database, *work: Job
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    app: procrastinate.App = jobs.application(db, work, system_clock)
    async with app.open_async(db.pool):
        running = asyncio.create_task(
            app.run_worker_async(
                shutdown_graceful_timeout=LIMIT_SECONDS,
                delete_jobs="successful",
                install_signal_handlers=False,
            )
        )

        async def stop() -> None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        yield stop
        await stop()


@pytest.mark.parametrize(
    ("rows", "pieces"),
    [
        (0, 1),
        (FORGOTTEN_PER_PIECE_MAX, 2),
        (2 * FORGOTTEN_PER_PIECE_MAX + 1, 3),
        ((PIECES_PER_RUN_MAX + 5) * FORGOTTEN_PER_PIECE_MAX, PIECES_PER_RUN_MAX),
    ],
)
async def test_retention_goes_on_in_pieces_until_nothing_is_left_or_its_run_is_long_enough(
    db: Database, rows: int, pieces: int
) -> None:
    left, done = rows, 0

    async def forget(_: Connection, most: int) -> int:
        nonlocal left, done
        gone = min(most, left)
        left, done = left - gone, done + 1
        return gone

    await forget_in_pieces(db, forget)
    assert done == pieces
    assert left == max(0, rows - PIECES_PER_RUN_MAX * FORGOTTEN_PER_PIECE_MAX)
