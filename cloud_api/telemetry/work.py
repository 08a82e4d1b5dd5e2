"""Around every job: a trace and a span of its own, and a line when it fails. What a job was given is never said."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

import structlog

from cloud_api.telemetry.tracing import Tracing, new_trace
from cloud_api.telemetry.trail import Trail, following

A = TypeVar("A")

log = structlog.get_logger()


def observed(
    task: str, run: Callable[[A], Awaitable[None]], *, tracing: Tracing, new_id: Callable[[], str]
) -> Callable[[A], Awaitable[None]]:
    """`run`, watched. `new_id` names this one attempt."""

    async def watched(arguments: A) -> None:
        parent = new_trace()
        began = perf_counter()
        trail = Trail(job=new_id(), trace=parent.trace, span=parent.span)
        with following(trail), tracing.span("job", task, task=task):
            try:
                await run(arguments)
            except Exception as error:
                seconds = perf_counter() - began
                log.warning("job_failed", task=task, ms=round(seconds * 1000, 1), exc_info=error)
                raise

    return watched
