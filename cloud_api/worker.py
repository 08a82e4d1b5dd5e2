"""The worker: runs jobs until it is told to stop, then finishes what it has begun.

Any number of them may run. One that is killed leaves its jobs to the others, when its lease has run out.
"""

import asyncio
import signal

import structlog

from cloud_api import deps as wiring
from cloud_api import jobs
from cloud_api.deps import Deps
from cloud_api.jobs import LEASE_SECONDS

# Jobs wait for databases and other machines, not for the processor.
CONCURRENCY = 5
# What is not done by then is given back, and done again by another: every job may run twice.
GRACE_SECONDS = 20.0
# Notifications wake it; this is for the one that got lost.
POLL_SECONDS = 5.0

logger = structlog.get_logger(__name__)


async def run(deps: Deps) -> None:
    """Until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await work(deps, stopping)


async def work(deps: Deps, stopping: asyncio.Event) -> None:
    """Until `stopping` is set."""
    async with wiring.opened(deps):
        app = jobs.application(deps.db, deps.jobs, deps.clock)
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
            await asyncio.gather(working, return_exceptions=True)
            logger.info("worker_stopped")
