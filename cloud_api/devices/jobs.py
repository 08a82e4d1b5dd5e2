"""Retention: challenges and messages of pairing are gone soon after they have run out."""

from cloud_api.devices.actions import Devices, forget_run_out
from cloud_api.jobs import Job, Task, Tick

SWEEP = Task("devices.sweep", Tick)


def device_jobs(devices: Devices) -> list[Job]:
    async def sweep(_: Tick) -> None:
        await forget_run_out(devices)

    return [Job(SWEEP, sweep, cron="*/10 * * * *")]
