"""The jobs of sync: compaction, spare segments, and files of vaults that are gone."""

from cloud_api.jobs import Job, Tick
from cloud_api.sync import compaction
from cloud_api.sync.relay import Relay
from cloud_api.sync.tasks import REMOVE, SWEEP, BlobNames


def sync_jobs(relay: Relay) -> list[Job]:
    async def sweep(_: Tick) -> None:
        await compaction.compact_due(relay)
        await compaction.remove_spare_segments(relay)

    async def remove(asked: BlobNames) -> None:
        await compaction.remove_blobs(relay, asked)

    return [Job(SWEEP, sweep, cron="23 * * * *"), Job(REMOVE, remove)]
