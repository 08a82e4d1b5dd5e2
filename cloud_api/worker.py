"""The worker: runs jobs until it is told to stop, then finishes what it has begun.

Any number of them may run. One that is killed leaves its jobs to the others, when its lease has run out.
"""

import asyncio
import signal
import sys

import structlog
from msgspec import structs

from cloud_api import deps as wiring
from cloud_api import jobs
from cloud_api.deps import Deps
from cloud_api.jobs import LEASE_SECONDS, Job
from cloud_api.telemetry.logs import configure_logs
from cloud_api.telemetry.work import observed
from shared.errors import UnavailableError

# Jobs wait for databases and other machines, not for the processor.
CONCURRENCY = 5
# What is not done by then is given back, and done again by another: every job may run twice.
GRACE_SECONDS = 20.0
# Notifications wake it; this is for the one that got lost.
POLL_SECONDS = 5.0

logger = structlog.get_logger(__name__)


class WorkerEndedError(UnavailableError):
    code = "worker_ended"

    def __init__(self) -> None:
        super().__init__(
            "The worker ended by itself: the database went away, or is not migrated. Start it again once that is mended; nothing is lost."
        )


async def run(deps: Deps) -> None:
    """Until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    configure_logs(sys.stderr, clock=deps.clock, account_key=wiring.account_key(deps))
    async with wiring.figures(deps):
        await work(deps, stopping)


def watched(deps: Deps) -> list[Job]:
    """The jobs, each with a trace of its own, and a line when it fails."""
    return [
        structs.replace(
            job,
            run=observed(
                job.task.name, job.run, tracing=deps.tracing, new_id=lambda: str(deps.new_id())
            ),
        )
        for job in deps.jobs
    ]


async def work(deps: Deps, stopping: asyncio.Event) -> None:
    """Until `stopping` is set.

    Raises:
        WorkerEndedError: it ended by itself.
    """
    async with wiring.opened(deps):
        app = jobs.application(deps.db, watched(deps), deps.clock)
        async with app.open_async(deps.db.pool):
            working = asyncio.create_task(
                app.run_worker_async(
                    concurrency=CONCURRENCY,
                    shutdown_graceful_timeout=GRACE_SECONDS,
                    fetch_job_polling_interval=POLL_SECONDS,
                    stalled_worker_timeout=LEASE_SECONDS,
                    delete_jobs="successful",  # who needs a history has events and the audit log
                    install_signal_handlers=False,
                )
            )
            told = asyncio.create_task(stopping.wait())
            logger.info("worker_started", jobs=len(deps.jobs))
            await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if not working.done():
                working.cancel()  # procrastinate takes it as a request to finish what runs
            (outcome,) = await asyncio.gather(working, return_exceptions=True)
            logger.info("worker_stopped")
            if not stopping.is_set():
                raise WorkerEndedError from outcome
