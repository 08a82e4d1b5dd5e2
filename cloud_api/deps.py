"""Wires the parts of the cloud together: the only place where settings become things.

Building opens nothing but the installation's secret; connections open with the application or the worker that uses them.
"""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from litestar.middleware import ASGIMiddleware
from litestar.types import ControllerRouterHandler
from msgspec import Struct
from redis.asyncio import Redis

from cloud_api.channels import Channels, over_postgresql, over_redis
from cloud_api.db import Database
from cloud_api.events import KEPT_DAYS, Subscription, forget_old, telling
from cloud_api.http.counters import Counters, MemoryCounters, RedisCounters, spoken
from cloud_api.http.cursors import Cursors
from cloud_api.http.idempotency import KEPT_HOURS
from cloud_api.http.languages import Messages, load_messages
from cloud_api.jobs import Job, Task, Tick
from cloud_api.settings import Settings
from shared import crypto
from shared.clock import Clock, system_clock
from shared.errors import CorruptError
from shared.ids import IdFactory

SWEEP = Task("deps.sweep", Tick)


class Deps(Struct, frozen=True, kw_only=True):
    """All that the application and the worker stand on."""

    settings: Settings
    db: Database
    clock: Clock
    new_id: Callable[[], UUID]
    key: bytes
    """The installation's own; never used itself, `shared.crypto.derive` makes one for each purpose from it."""
    counters: Counters
    channels: Channels
    cursors: Cursors
    messages: Messages
    routes: Sequence[ControllerRouterHandler] = ()
    authentication: Sequence[ASGIMiddleware] = ()
    """Runs before limits and idempotency, which count by the caller it identifies."""
    injected: dict[str, Any] = {}
    """More for routes to ask for by name, beside `db`, `clock`, `cursors`, `counters` and `settings`."""
    jobs: Sequence[Job] = ()


def build(settings: Settings, database_url: str, *, clock: Clock = system_clock) -> Deps:
    """The parts of one process. `database_url` is apart because an embedded database says its own."""
    ids = IdFactory(clock)
    key = installation_key(settings)
    db = Database(
        database_url,
        replica_url=settings.replica_url.reveal if settings.replica_url else None,
        connections_max=settings.pool,
    )
    subscriptions: list[Subscription[Any]] = []
    return Deps(
        settings=settings,
        db=db,
        clock=clock,
        new_id=ids.uuid,
        key=key,
        counters=RedisCounters(settings.redis_url.reveal)
        if settings.redis_url
        else MemoryCounters(),
        channels=_channels(settings, db, database_url),
        cursors=Cursors(key),
        messages=load_messages(),
        jobs=[*telling(db, subscriptions), _sweeping(db)],
    )


@asynccontextmanager
async def opened(deps: Deps) -> AsyncIterator[None]:
    async with deps.db, deps.channels.opened():
        try:
            yield
        finally:
            await deps.counters.close()


def _channels(settings: Settings, db: Database, database_url: str) -> Channels:
    if settings.redis_url is not None:
        return over_redis(Redis.from_url(spoken(settings.redis_url.reveal)))
    return over_postgresql(db, database_url)


def installation_key(settings: Settings) -> bytes:
    """From SUNAIVA_CLOUD_SECRET, or made once and kept in the data folder.

    Raises:
        CorruptError: the file is there, and not what was written.
    """
    if settings.secret is not None:
        return crypto.derive(settings.secret.reveal.encode(), "cloud/installation")
    path = settings.home / "secret"
    settings.home.mkdir(parents=True, exist_ok=True)
    _write_once(path, secrets.token_bytes(crypto.KEY_BYTES))
    key = path.read_bytes()
    if len(key) != crypto.KEY_BYTES:
        raise CorruptError(
            f"{path} is damaged. Put back a copy, or delete it: everybody then has to log in again."
        )
    return key


def _write_once(path: Path, content: bytes) -> None:
    """Whole or not at all, and never over one that is there: two processes may come at the same moment."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.touch(mode=0o600)
    new.write_bytes(content)
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()


def _sweeping(db: Database) -> Job:
    async def sweep(tick: Tick) -> None:
        async with db.transaction() as connection:
            await connection.execute(
                "SELECT forget_idempotency_keys(%s)", [tick.due_at - timedelta(hours=KEPT_HOURS)]
            )
            await forget_old(connection, before=tick.due_at - timedelta(days=KEPT_DAYS))

    return Job(SWEEP, sweep, cron="17 * * * *")
