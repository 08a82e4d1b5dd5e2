"""Events: written with their cause, told to each subscriber at least once, and to one in spite of another."""

from typing import ClassVar
from uuid import uuid4

import pytest

from cloud_api.db import AccountId, Database
from cloud_api.events import Event, Subscription, Told, forget_old, record, telling
from cloud_api.jobs import jobs_of
from shared.clock import system_clock
from shared.errors import UnavailableError
from tests.cloud_api.test_jobs import run_all

pytestmark = pytest.mark.anyio


class InvoicePaid(Event, frozen=True, kw_only=True):
    name: ClassVar[str] = "tests.invoice_paid"
    amount_minor: int


PAID = InvoicePaid(account=AccountId(uuid4()), amount_minor=995)


async def test_subscribers_are_told_of_what_was_committed(db: Database) -> None:
    told: list[Told[InvoicePaid]] = []

    async def hear(news: Told[InvoicePaid]) -> None:
        told.append(news)

    work = telling(db, [Subscription(to=InvoicePaid, subscriber="tests.books", hear=hear)])
    async with db.transaction() as connection:
        event_id = await record(connection, PAID)
    await run_all(db, *work)
    assert [(each.id, each.event) for each in told] == [(event_id, PAID)]


async def test_an_event_of_a_transaction_that_failed_never_happened(db: Database) -> None:
    async def fail() -> None:
        async with db.transaction() as connection:
            await record(connection, PAID)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with db.reading() as connection:
        assert await (await connection.execute("SELECT FROM events")).fetchall() == []
        assert await jobs_of(connection) == []


async def test_a_subscriber_that_fails_does_not_keep_the_news_from_another(db: Database) -> None:
    heard: list[str] = []

    async def broken(news: Told[InvoicePaid]) -> None:
        heard.append("broken")
        raise UnavailableError("Not now.")

    async def well(news: Told[InvoicePaid]) -> None:
        heard.append("well")

    work = telling(
        db,
        [
            Subscription(to=InvoicePaid, subscriber="tests.broken", hear=broken),
            Subscription(to=InvoicePaid, subscriber="tests.well", hear=well),
        ],
    )
    async with db.transaction() as connection:
        await record(connection, PAID)
    await run_all(db, *work)
    assert sorted(heard) == ["broken", "well"]
    async with db.reading() as connection:
        (waiting,) = await jobs_of(connection, status="todo")
    assert waiting.arguments["subscriber"] == "tests.broken"


async def test_old_events_go_in_pieces_and_one_that_nobody_was_told_of_stays(db: Database) -> None:
    async with db.transaction() as connection:
        for _ in range(4):
            await record(connection, PAID)
        await connection.execute(
            "UPDATE events SET recorded_at = now() - interval '1 day', "
            "dispatched_at = CASE WHEN id = (SELECT id FROM events ORDER BY id LIMIT 1) THEN NULL ELSE now() END"
        )
        gone = [await forget_old(connection, before=system_clock(), most=2) for _ in range(3)]
        left = await connection.execute("SELECT FROM events")
    assert (gone, left.rowcount) == ([2, 1, 0], 1)
