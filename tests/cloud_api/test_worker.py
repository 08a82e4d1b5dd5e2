"""How a worker ends."""

import asyncio

import pytest

from cloud_api import deps as wiring
from cloud_api.settings import Settings
from cloud_api.worker import WorkerEndedError, work

pytestmark = pytest.mark.anyio


async def test_a_worker_that_cannot_work_says_so_and_does_not_end_as_if_it_were_told_to(
    settings: Settings, empty_database_url: str
) -> None:
    deps = wiring.build(settings, empty_database_url)
    with pytest.raises(WorkerEndedError):
        await work(deps, asyncio.Event())
