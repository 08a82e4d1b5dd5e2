"""Wires the parts of the cloud together: the only place where settings become things.

Building opens nothing but the installation's secret, and makes the folder of the blobs; connections open with the application or the worker that uses them.
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
from msgspec import Struct, structs
from redis.asyncio import Redis

from cloud_api.accounts.agreements import Agreements
from cloud_api.accounts.authentication import Authentication
from cloud_api.accounts.jobs import account_jobs
from cloud_api.accounts.keys.keyring import Keyring
from cloud_api.accounts.means import Means, Site
from cloud_api.accounts.passwords.hashing import HASHING_THREADS, PasswordHasher
from cloud_api.accounts.routes.every import ROUTES as ACCOUNT_ROUTES
from cloud_api.accounts.routes.every import of_own_account
from cloud_api.accounts.routes.pages import pages
from cloud_api.audit.jobs import audit_jobs
from cloud_api.audit.routes import own_audit
from cloud_api.blobs import open_blobs
from cloud_api.channels import Channels, over_postgresql, over_redis
from cloud_api.db import Connection, Database
from cloud_api.devices.actions import Devices
from cloud_api.devices.authentication import DeviceAuthentication
from cloud_api.devices.jobs import device_jobs
from cloud_api.devices.routes import DEVICE_ROUTES
from cloud_api.events import KEPT_DAYS, Subscription, forget_old, telling
from cloud_api.http.counters import Counters, MemoryCounters, RedisCounters, spoken
from cloud_api.http.cursors import Cursors
from cloud_api.http.idempotency import KEPT_HOURS, forget_keys
from cloud_api.http.languages import Messages, load_messages
from cloud_api.jobs import Job, Task, Tick, counted, forget_in_pieces
from cloud_api.notifications.actions import Post, mail_key
from cloud_api.notifications.folder import FolderMailer
from cloud_api.notifications.jobs import mail_jobs
from cloud_api.notifications.mailer import Mailer
from cloud_api.notifications.observed import ObservedMailer
from cloud_api.notifications.routes import OWN as OWN_MAIL
from cloud_api.notifications.routes import mail_routes
from cloud_api.notifications.smtp import SmtpMailer, parse_smtp_url
from cloud_api.notifications.wording import read_wording
from cloud_api.rights.exports import Rights
from cloud_api.rights.jobs import rights_jobs, rights_subscriptions
from cloud_api.rights.registry import PERSONAL
from cloud_api.rights.routes import RIGHTS_ROUTES
from cloud_api.rights.rules import CONSENTS
from cloud_api.rights.wording import read_texts
from cloud_api.settings import Settings, is_for_this_machine
from cloud_api.sync.chains import Chains
from cloud_api.sync.jobs import sync_jobs
from cloud_api.sync.nudges import Nudges
from cloud_api.sync.relay import Relay
from cloud_api.sync.routes.every import SYNC_ROUTES
from cloud_api.sync.rules import MayPush, everybody_may
from cloud_api.sync.turns import Turns
from cloud_api.telemetry.exposition import metrics_shown
from cloud_api.telemetry.metrics import Metrics
from cloud_api.telemetry.tracing import Tracing, otlp
from shared import crypto
from shared.clock import Clock, system_clock
from shared.errors import CorruptError, UnavailableError
from shared.ids import IdFactory

# Beside the processes that answer, so many workers on the same machine find a port for their figures.
_WORKERS_SHOWN = 16

SWEEP = Task("deps.sweep", Tick)


class Deps(Struct, frozen=True, kw_only=True):
    """All that the application and the worker stand on."""

    settings: Settings
    db: Database
    clock: Clock
    new_id: Callable[[], UUID]
    key: bytes
    """The installation's own; never used itself, `shared.crypto.derive` makes one for each purpose from it."""
    metrics: Metrics
    tracing: Tracing
    counters: Counters
    channels: Channels
    cursors: Cursors
    messages: Messages
    accounts: Means
    relay: Relay
    routes: Sequence[ControllerRouterHandler] = ()
    authentication: Sequence[ASGIMiddleware] = ()
    """Runs before limits and idempotency, which count by the caller it identifies."""
    injected: dict[str, Any] = {}
    """More for routes to ask for by name, beside `db`, `clock`, `cursors`, `counters` and `settings`."""
    jobs: Sequence[Job] = ()


def build(
    settings: Settings,
    database_url: str,
    *,
    clock: Clock = system_clock,
    tracing: Tracing | None = None,
    may_push: MayPush = everybody_may,
) -> Deps:
    """The parts of one process. `database_url` is apart because an embedded database says its own."""
    ids = IdFactory(clock)
    metrics = Metrics()
    key = installation_key(settings)
    if tracing is None:
        tracing = Tracing(otlp(settings.collector_url) if settings.collector_url else None)
    db = Database(
        database_url,
        replica_url=settings.replica_url.reveal if settings.replica_url else None,
        connections_max=settings.pool,
        tracing=tracing,
    )
    accounts = _accounts(settings, db, clock, key)
    post = _post(settings, db, clock, key)
    sending = structs.replace(post, mailer=ObservedMailer(post.mailer, metrics, tracing))
    rights = _rights(settings, db, clock, key)
    channels = _channels(settings, db, database_url)
    devices = _devices(accounts, ids)
    relay = _relay(rights, channels, may_push)
    subscriptions: list[Subscription[Any]] = [*rights_subscriptions(rights)]
    return Deps(
        settings=settings,
        db=db,
        clock=clock,
        new_id=ids.uuid,
        key=key,
        metrics=metrics,
        tracing=tracing,
        counters=RedisCounters(settings.redis_url.reveal)
        if settings.redis_url
        else MemoryCounters(),
        channels=channels,
        cursors=Cursors(key),
        messages=load_messages(),
        accounts=accounts,
        relay=relay,
        routes=_routes(post, settings),
        authentication=[DeviceAuthentication(devices), Authentication(accounts)],
        injected={
            "accounts": accounts,
            "devices": devices,
            "letters": post,
            "relay": relay,
            "rights": rights,
        },
        jobs=[
            *telling(db, subscriptions),
            _sweeping(db),
            *audit_jobs(db),
            *mail_jobs(sending),
            *account_jobs(accounts),
            *rights_jobs(rights),
            *device_jobs(devices),
            *sync_jobs(relay),
        ],
    )


def refuse_unusable(settings: Settings) -> None:
    """For whoever starts processes, which would each find it out by themselves.

    Raises:
        InvalidError
    """
    if settings.smtp_url is not None:
        parse_smtp_url(settings.smtp_url.reveal)


def _accounts(settings: Settings, db: Database, clock: Clock, key: bytes) -> Means:
    return Means(
        db=db,
        clock=clock,
        hasher=PasswordHasher(HASHING_THREADS),
        keys=Keyring(db, clock, key),
        key=key,
        mail_key=mail_key(key),
        site=Site(settings.public_url),
        agreements=Agreements(terms=CONSENTS["terms"], privacy=CONSENTS["privacy"]),
    )


def _routes(post: Post, settings: Settings) -> list[ControllerRouterHandler]:
    return [
        *ACCOUNT_ROUTES,
        *pages(),
        of_own_account(own_audit, *OWN_MAIL),
        *mail_routes(post, to_others=not is_for_this_machine(settings.admin_host)),
        *RIGHTS_ROUTES,
        *DEVICE_ROUTES,
        *SYNC_ROUTES,
    ]


def _devices(accounts: Means, ids: IdFactory) -> Devices:
    return Devices(
        db=accounts.db,
        clock=accounts.clock,
        keys=accounts.keys,
        challenge_key=crypto.derive(accounts.key, "cloud/device challenges"),
        public_url=accounts.site.public_url,
        random=secrets.token_bytes,
        new_id=ids.uuid,
    )


def _relay(rights: Rights, channels: Channels, may_push: MayPush) -> Relay:
    return Relay(
        db=rights.db,
        blobs=rights.blobs,
        clock=rights.clock,
        chains=Chains(),
        nudges=Nudges(channels),
        turns=Turns(),
        may_push=may_push,
    )


def _post(settings: Settings, db: Database, clock: Clock, key: bytes) -> Post:
    return Post(
        db=db,
        mailer=_mailer(settings),
        wording=read_wording(),
        key=mail_key(key),
        sender=settings.mail_from,
        public_url=settings.public_url,
        clock=clock,
    )


def _rights(settings: Settings, db: Database, clock: Clock, key: bytes) -> Rights:
    return Rights(
        db=db,
        blobs=open_blobs(settings.blobs_url.reveal if settings.blobs_url else None, settings.home),
        clock=clock,
        mail_key=mail_key(key),
        public_url=settings.public_url,
        tables=PERSONAL,
        texts=read_texts(),
    )


@asynccontextmanager
async def opened(deps: Deps) -> AsyncIterator[None]:
    async with deps.db, deps.channels.opened(), deps.relay.nudges.opened():
        try:
            yield
        finally:
            await deps.counters.close()
            deps.accounts.hasher.close()
            deps.tracing.close()


def account_key(deps: Deps) -> bytes:
    """What accounts are called by in the log comes from it."""
    return crypto.derive(deps.key, "cloud/accounts in the log")


async def refresh_figures(deps: Deps) -> None:
    """Those that nobody counts while they happen."""
    deps.metrics.observe_pool(deps.db.pool.get_stats())
    try:
        async with deps.db.reading() as connection:
            deps.metrics.observe_jobs(await counted(connection))
    except UnavailableError:
        deps.metrics.observe_database(is_there=False)
    else:
        deps.metrics.observe_database(is_there=True)


def figure_ports(settings: Settings) -> range:
    """Where processes of this machine show their figures: each takes the first that is free."""
    return range(settings.admin_port, settings.admin_port + settings.processes + _WORKERS_SHOWN)


@asynccontextmanager
async def figures(deps: Deps) -> AsyncIterator[None]:
    """Shows this process's figures on the admin port, or the next that is free."""

    settings = deps.settings
    ports = figure_ports(settings)
    async with metrics_shown(
        deps.metrics,
        host=settings.admin_host,
        first_port=ports.start,
        ports=len(ports),
        refresh=lambda: refresh_figures(deps),
    ):
        yield


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


def _mailer(settings: Settings) -> Mailer:
    if settings.smtp_url is not None:
        return SmtpMailer(parse_smtp_url(settings.smtp_url.reveal))
    is_production = settings.environment == "production"
    return FolderMailer(settings.home / "mail", production=is_production)


def _sweeping(db: Database) -> Job:
    async def sweep(tick: Tick) -> None:
        async def keys(connection: Connection, most: int) -> int:
            return await forget_keys(
                connection, before=tick.due_at - timedelta(hours=KEPT_HOURS), most=most
            )

        async def events(connection: Connection, most: int) -> int:
            return await forget_old(
                connection, before=tick.due_at - timedelta(days=KEPT_DAYS), most=most
            )

        for each in (keys, events):
            await forget_in_pieces(db, each)

    return Job(SWEEP, sweep, cron="17 * * * *")
