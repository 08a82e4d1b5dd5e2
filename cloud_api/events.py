"""What happened, told to whoever wants to know: an event row, and its dispatch, in the transaction in which it happened.

This is how a lower part of the cloud reaches an upper one, which it may not import. Subscribers hear of an event at least
once, each in a job of its own, so that one that fails is tried again without the others. An event carries ids and figures,
never a text, a mail address or a secret.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.types.json import Jsonb

from cloud_api.db import AccountId, Connection, Database
from cloud_api.jobs import Job, Task, enqueue
from shared.errors import NotFoundError

KEPT_DAYS = 90  # a subscriber that was broken for a quarter has other troubles

_NAME = re.compile(r"[a-z][a-z0-9_.]{1,79}")


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened. A kind of event is a subclass that sets `name`, and never changes it."""

    name: ClassVar[str]
    account: AccountId | None = None


E = TypeVar("E", bound=Event)


class Told(Struct, Generic[E], frozen=True, kw_only=True):
    """An event as a subscriber gets it. The same `id` may come twice."""

    id: UUID
    recorded_at: datetime
    event: E


class Subscription(Struct, Generic[E], frozen=True, kw_only=True):
    """Who wants to know. `subscriber` is a name that stays the same for ever, such as `notifications.welcome`."""

    to: type[E]
    subscriber: str
    hear: Callable[[Told[E]], Awaitable[None]]


class Dispatch(Struct, frozen=True, forbid_unknown_fields=True):
    event_id: UUID


class Delivery(Struct, frozen=True, forbid_unknown_fields=True):
    event_id: UUID
    subscriber: str


class EventNotFoundError(NotFoundError):
    code = "event_not_found"


DISPATCH = Task("events.dispatch", Dispatch)
DELIVER = Task("events.deliver", Delivery)


async def record(connection: Connection, event: Event) -> UUID:
    """Write down what happened, to be told once this transaction has committed. Returns the event's id."""
    assert _NAME.fullmatch(event.name), event.name
    body = msgspec.to_builtins(event)
    del body["account"]
    cursor = await connection.execute(
        "INSERT INTO events (name, account_id, body) VALUES (%s, %s, %s) RETURNING id",
        [event.name, event.account, Jsonb(body)],
    )
    row = await cursor.fetchone()
    assert row is not None
    event_id: UUID = row[0]
    await enqueue(connection, DISPATCH, Dispatch(event_id))
    return event_id


async def forget_old(connection: Connection, *, before: datetime, most: int) -> int:
    """How many went of those that were told; one that never was stays, and is looked into."""
    cursor = await connection.execute(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE recorded_at < %s AND dispatched_at IS NOT NULL "
        "ORDER BY recorded_at LIMIT %s)",
        [before, most],
    )
    return cursor.rowcount


def telling(db: Database, subscriptions: Sequence[Subscription[Any]]) -> list[Job]:
    """The jobs that tell subscribers."""
    by_name: dict[str, list[Subscription[Any]]] = {}
    by_subscriber: dict[str, Subscription[Any]] = {}
    for each in subscriptions:
        by_name.setdefault(each.to.name, []).append(each)
        assert each.subscriber not in by_subscriber, f"two subscribers named {each.subscriber}"
        by_subscriber[each.subscriber] = each

    async def dispatch(asked: Dispatch) -> None:
        async with db.transaction() as connection:
            # Marked and enqueued together: dispatched again, it finds the mark and tells nobody twice.
            cursor = await connection.execute(
                "UPDATE events SET dispatched_at = now() WHERE id = %s AND dispatched_at IS NULL RETURNING name",
                [asked.event_id],
            )
            for (name,) in await cursor.fetchall():
                for subscription in by_name.get(name, []):
                    await enqueue(
                        connection, DELIVER, Delivery(asked.event_id, subscription.subscriber)
                    )

    async def deliver(asked: Delivery) -> None:
        subscription = by_subscriber.get(asked.subscriber)
        if subscription is None:
            raise EventNotFoundError(f"Nobody is named {asked.subscriber} any more.")
        async with db.transaction() as connection:
            told = await _told(connection, asked.event_id, subscription.to)
        await subscription.hear(told)

    return [Job(DISPATCH, dispatch), Job(DELIVER, deliver)]


async def _told(connection: Connection, event_id: UUID, kind: type[E]) -> Told[E]:
    cursor = await connection.execute(
        "SELECT account_id, body, recorded_at FROM events WHERE id = %s", [event_id]
    )
    row = await cursor.fetchone()
    if row is None:
        raise EventNotFoundError(f"The event {event_id} is no longer kept.")
    account, body, recorded_at = row
    event = msgspec.convert({**body, "account": account}, kind)
    return Told(id=event_id, recorded_at=recorded_at, event=event)
