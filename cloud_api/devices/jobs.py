"""Retention: challenges and messages of pairing are gone soon after they have run out."""

from cloud_api.db import Connection
from cloud_api.devices import store
from cloud_api.devices.actions import Devices
from cloud_api.jobs import Job, Task, Tick, forget_in_pieces

SWEEP = Task("devices.sweep", Tick)


def device_jobs(devices: Devices) -> list[Job]:
    async def sweep(_: Tick) -> None:
        async def run_out(connection: Connection, most: int) -> int:
            return await store.forget_run_out(connection, devices.clock(), most)

        await forget_in_pieces(devices.db, run_out)

    return [Job(SWEEP, sweep, cron="*/10 * * * *")]
