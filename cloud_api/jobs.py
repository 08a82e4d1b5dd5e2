"""Work for later: a row in the same database, written in the transaction that causes it, so neither is there without the other.

A job runs at least once, so running it twice must do no harm; it carries ids and never a secret, a mail address or a text
of a person, because job rows are read by the worker for all accounts. One that keeps failing ends as a dead letter, which
staff sees and may replay.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec
import procrastinate
import psycopg
from msgspec import Struct
from procrastinate import exceptions, jobs, manager, retry
from psycopg.rows import class_row

from cloud_api.db import Connection, Database
from shared.clock import Clock
from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)

A = TypeVar("A", bound=Struct)

# With the pauses below these are two days: long enough for whoever operates this to wake up and repair what is broken.
ATTEMPTS_MAX = 16
RETRY_SECONDS_FIRST = 5
RETRY_SECONDS_MAX = 6 * 3600
# A worker says every ten seconds that it lives; after this long it is gone, and others take what it had begun.
LEASE_SECONDS = 60
DEAD_SHOWN_MAX = 200
# What retention deletes in one transaction: some hundred milliseconds, for which nobody waits long. With the pieces of one run
# a table that was left alone for a year is clean within hours.
FORGOTTEN_PER_PIECE_MAX = 2_000
PIECES_PER_RUN_MAX = 100
QUEUE = "default"

# The same again would end the same way.
_HOPELESS = (
    msgspec.ValidationError,
    InvalidError,
    NotFoundError,
    ForbiddenError,
    ConflictError,
    CorruptError,
)


class JobNotFoundError(NotFoundError):
    code = "job_not_found"


class JobWaitsError(ConflictError):
    code = "job_waits"


class Task(Struct, Generic[A], frozen=True):
    """What can be asked for: a name that stays the same for ever, and what it needs to know."""

    name: str
    takes: type[A]
    attempts_max: int = ATTEMPTS_MAX


class Tick(Struct, frozen=True, forbid_unknown_fields=True):
    """What a periodic job gets: the moment it was due."""

    due_at: datetime


class Job(Struct, frozen=True):
    """A task together with who does it. `cron` makes it periodic (minute hour day month weekday, UTC); it then takes a `Tick`."""

    task: Task[Any]
    run: Callable[[Any], Awaitable[None]]
    cron: str | None = None


class JobRow(Struct, frozen=True):
    """A job as staff sees it."""

    id: int
    task: str
    status: str
    attempts: int
    arguments: dict[str, Any]
    scheduled_at: datetime | None


async def enqueue(
    connection: Connection,
    task: Task[A],
    arguments: A,
    *,
    at: datetime | None = None,
    once: str | None = None,
) -> bool:
    """Have it done after this transaction has committed, at once or at a time. With `once`, not if one of that name waits already.

    Returns whether it was enqueued.
    """
    job_manager = manager.JobManager(procrastinate.PsycopgConnector())
    deferrer = procrastinate.tasks.configure_task(
        name=task.name,
        job_manager=job_manager,
        queue=QUEUE,
        queueing_lock=once,
        schedule_at=at,
        task_kwargs=msgspec.to_builtins(arguments),
        connection=connection,
    )
    try:
        if once is None:
            await deferrer.defer_async()
        else:
            # A savepoint: the refused row must not take the caller's transaction with it.
            async with connection.transaction():
                await deferrer.defer_async()
    except exceptions.AlreadyEnqueued:
        return False
    except exceptions.ConnectorException as error:
        # What the database says, as every other query says it: a full disk is told from a mistake of ours by it.
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise
    return True


async def forget_in_pieces(
    db: Database, forget: Callable[[Connection, int], Awaitable[int]]
) -> None:
    """Deletes what is old, each piece in a transaction of its own, until there is no more; what one run leaves, the next takes.

    `forget` gets how many rows it may delete and says how many it did.
    """
    for _ in range(PIECES_PER_RUN_MAX):
        async with db.transaction() as connection:
            if await forget(connection, FORGOTTEN_PER_PIECE_MAX) < FORGOTTEN_PER_PIECE_MAX:
                return


def application(db: Database, work: Sequence[Job], clock: Clock) -> procrastinate.App:
    """What the worker runs. Open it with `app.open_async(db.pool)`."""
    names = [job.task.name for job in work]
    assert len(set(names)) == len(names), "two jobs of one name"
    app = procrastinate.App(connector=procrastinate.PsycopgConnector())
    app.job_manager = _JobManager(app.connector)
    for job in (*work, _reclaiming(app, clock)):
        _register(app, job)
    return app


async def jobs_of(connection: Connection, *, status: str | None = None) -> list[JobRow]:
    """The newest jobs, those of one status where one is named: `todo`, `doing`, `failed`."""
    async with connection.cursor(row_factory=class_row(JobRow)) as cursor:
        await cursor.execute(
            "SELECT id, task_name AS task, status::text AS status, attempts, args AS arguments, scheduled_at "
            "FROM procrastinate_jobs WHERE %(status)s::text IS NULL OR status::text = %(status)s "
            "ORDER BY id DESC LIMIT %(most)s",
            {"status": status, "most": DEAD_SHOWN_MAX},
        )
        return await cursor.fetchall()


async def counted(connection: Connection) -> dict[str, int]:
    """How many jobs there are of each status. Those that succeeded are not kept."""
    cursor = await connection.execute(
        "SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY status"
    )
    return dict(await cursor.fetchall())


async def replay(connection: Connection, job_id: int) -> None:
    """Give a dead letter all its attempts again.

    Raises:
        JobNotFoundError: no failed job has that number.
        JobWaitsError: the same work waits already.
    """
    found = await connection.execute(
        "SELECT FROM procrastinate_jobs WHERE id = %s AND status = 'failed' FOR UPDATE", [job_id]
    )
    if not found.rowcount:
        raise JobNotFoundError(
            f"No dead job has the number {job_id}. `sunaiva-cloud admin jobs dead` lists them."
        )
    try:
        await connection.execute(
            "SELECT procrastinate_retry_job_v2(%s, now(), NULL, NULL, NULL)", [job_id]
        )
    except psycopg.errors.UniqueViolation:
        raise JobWaitsError(
            f"What job {job_id} is for waits already, as another job. `sunaiva-cloud admin jobs list` shows it."
        ) from None
    await connection.execute("UPDATE procrastinate_jobs SET attempts = 0 WHERE id = %s", [job_id])


def _register(app: procrastinate.App, job: Job) -> None:
    takes = Tick if job.cron else job.task.takes

    async def run(**arguments: Any) -> None:
        await job.run(msgspec.convert(arguments, takes))

    async def tick(timestamp: int) -> None:
        await job.run(msgspec.convert({"due_at": timestamp}, Tick, strict=False))

    task = app.task(
        name=job.task.name,
        queue=QUEUE,
        retry=_Patience(job.task.attempts_max),
        queueing_lock=job.task.name if job.cron else None,
    )(tick if job.cron else run)
    if job.cron:
        app.periodic(cron=job.cron)(task)


class _JobManager(manager.JobManager):
    """Of a job that is asked for once, one waits at the most: where the next waits already, who failed need not wait beside it."""

    async def retry_job(self, job: jobs.Job, *args: Any, **kwargs: Any) -> None:
        try:
            await super().retry_job(job, *args, **kwargs)
        except exceptions.UniqueViolation:
            await self.finish_job(job, status=jobs.Status.FAILED, delete_job=True)


class _Patience(retry.BaseRetryStrategy):
    def __init__(self, attempts_max: int) -> None:
        self.attempts_max = attempts_max

    def get_retry_decision(
        self, *, exception: BaseException, job: jobs.Job
    ) -> retry.RetryDecision | None:
        if job.attempts + 1 >= self.attempts_max or is_hopeless(exception):
            return None
        return retry.RetryDecision(retry_in={"seconds": pause_seconds(job.attempts)})


def is_hopeless(error: BaseException) -> bool:
    """Whether the same job would fail the same way again."""
    return isinstance(error, _HOPELESS)


def pause_seconds(attempts: int) -> int:
    """How long to wait after so many failures: doubling, and after six hours always six hours."""
    return int(min(RETRY_SECONDS_FIRST * 2**attempts, RETRY_SECONDS_MAX))


RECLAIM = Task("jobs.reclaim", Tick)


def _reclaiming(app: procrastinate.App, clock: Clock) -> Job:
    async def reclaim(tick: Tick) -> None:
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=LEASE_SECONDS):
            task = app.tasks.get(job.task_name)
            # A job that kills its worker each time must not go round for ever.
            if job.attempts + 1 >= _attempts_max(task):
                await app.job_manager.finish_job(job, status=jobs.Status.FAILED, delete_job=False)
            else:
                await app.job_manager.retry_job(job, retry_at=clock() + timedelta(seconds=1))

    return Job(RECLAIM, reclaim, cron="* * * * *")


def _attempts_max(task: "procrastinate.tasks.Task[Any, Any, Any] | None") -> int:
    strategy = task.retry_strategy if task else None
    return strategy.attempts_max if isinstance(strategy, _Patience) else ATTEMPTS_MAX
