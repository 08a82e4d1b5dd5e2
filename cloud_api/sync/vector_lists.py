"""Lists of sealed vectors that devices leave beside their snapshots, so that others need not make them anew.

A list keeps its segments, and nothing is ever deleted for it; a device's next list takes the place of its last.
"""

from uuid import UUID

from cloud_api.devices.passes import Pass
from cloud_api.sync import rules, snapshot_store, store
from cloud_api.sync.placing import demand_entitlement, demand_room
from cloud_api.sync.refusals import ManifestForgedError, ManifestRefusedError
from cloud_api.sync.relay import Relay, locked, seen
from cloud_api.sync.snapshot_store import NewManifest
from cloud_api.sync.snapshots import demand_stored
from sync_service.changes.ops import MalformedError
from sync_service.sealed import vectors
from sync_service.sealed.frames import ForgedError
from sync_service.sealed.vectors import VectorList


async def put(relay: Relay, device_pass: Pass, raw: bytes) -> UUID:
    """The id under which it is kept. The same again is the same.

    Raises:
        ManifestRefusedError, ManifestForgedError, ManifestAheadError
        NotEntitledError, VaultFullError, VaultNotFoundError, DeviceRevokedError
    """
    made = _read(raw, device_pass)
    list_id = UUID(bytes=vectors.id_of(raw))
    account, vault, device = device_pass.account, device_pass.vault, device_pass.device
    async with relay.db.transaction(account) as connection:
        row, members = await locked(relay, connection, vault, device_pass)
        if await snapshot_store.manifest(connection, vault, list_id) is not None:
            return list_id
        try:
            vectors.verify(raw, members.members[made.device].sign_public)
        except ForgedError as error:
            raise ManifestForgedError(str(error)) from None
        await demand_stored(connection, vault, made.segments)
        demand_entitlement(await relay.may_push(connection, account))
        demand_room(row, len(raw))
        gone = await snapshot_store.drop_vector_lists(connection, vault, device)
        names = tuple(UUID(hex=each.name) for each in made.segments)
        await snapshot_store.add_manifest(
            connection,
            account,
            vault,
            NewManifest(list_id, device, raw, names),
            now=relay.clock(),
        )
        await store.use_bytes(connection, vault, len(raw) - gone)
    return list_id


async def lists(relay: Relay, device_pass: Pass) -> list[bytes]:
    """The newest first.

    Raises:
        VaultNotFoundError, DeviceRevokedError
    """
    async with relay.db.transaction(device_pass.account) as connection:
        await seen(relay, connection, device_pass)
        return await snapshot_store.vector_lists(
            connection, device_pass.vault, rules.VECTOR_LISTS_MAX
        )


def _read(raw: bytes, device_pass: Pass) -> VectorList:
    try:
        made = vectors.read(raw)
    except MalformedError as error:
        raise ManifestRefusedError(str(error)) from None
    if (made.vault, made.device) != (device_pass.vault.bytes, device_pass.device.bytes):
        raise ManifestRefusedError("A list of vectors is of another vault, or of another device.")
    return made
