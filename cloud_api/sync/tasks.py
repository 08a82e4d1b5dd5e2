"""What sync leaves for later."""

from msgspec import Struct

from cloud_api.jobs import Task, Tick


class BlobNames(Struct, frozen=True, forbid_unknown_fields=True):
    names: tuple[str, ...]


REMOVE = Task("sync.remove_blobs", BlobNames)
SWEEP = Task("sync.sweep", Tick)
