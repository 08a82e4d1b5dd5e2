"""Seals the log every minute: what is younger could still be changed unnoticed by whoever owns the database."""

from cloud_api.audit import store
from cloud_api.db import Database
from cloud_api.jobs import Job, Task, Tick

SEALED_AT_ONCE_MAX = 2_000  # one transaction stays well under the limit of a statement
SEALED_PER_RUN_MAX = 100_000  # the next run is a minute away

SEAL = Task("audit.seal", Tick)


def audit_jobs(db: Database) -> list[Job]:
    async def seal(tick: Tick) -> None:
        for _ in range(SEALED_PER_RUN_MAX // SEALED_AT_ONCE_MAX):
            async with db.transaction() as connection:
                if await store.seal(connection, SEALED_AT_ONCE_MAX) < SEALED_AT_ONCE_MAX:
                    return

    return [Job(SEAL, seal, cron="* * * * *")]
