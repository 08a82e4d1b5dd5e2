"""What the use cases of sync stand on, and the one look at a vault that all of them begin with."""

from msgspec import Struct

from cloud_api.blobs import Blobs
from cloud_api.db import Connection, Database
from cloud_api.devices.actions import VaultDeletedError
from cloud_api.devices.names import VaultId
from cloud_api.devices.passes import Pass
from cloud_api.sync import deletion_store, store
from cloud_api.sync.chains import Chains
from cloud_api.sync.nudges import Nudges
from cloud_api.sync.refusals import DeviceRevokedError, VaultNotFoundError
from cloud_api.sync.rules import MayPush
from cloud_api.sync.store import VaultRow
from cloud_api.sync.turns import Turns
from shared.clock import Clock
from sync_service.members.control import Members
from sync_service.relay import is_active


class Relay(Struct, frozen=True, kw_only=True):
    """`deps` wires it once for a process."""

    db: Database
    blobs: Blobs
    clock: Clock
    chains: Chains
    nudges: Nudges
    turns: Turns
    may_push: MayPush


async def locked(
    relay: Relay, connection: Connection, vault: VaultId, device_pass: Pass | None
) -> tuple[VaultRow, Members]:
    """The vault, locked until this transaction ends; with a pass, for a device that belongs to it now.

    Raises:
        VaultNotFoundError, VaultDeletedError
        DeviceRevokedError
    """
    row = await store.lock(connection, vault)
    if row is None:
        raise await missing(connection, vault)
    members = await relay.chains.current(connection, row)
    if device_pass is not None and not is_active(members, device_pass.device.bytes):
        raise DeviceRevokedError
    return row, members


async def seen(relay: Relay, connection: Connection, device_pass: Pass) -> VaultRow:
    """The vault as it stands, for a device that belongs to it now.

    Raises:
        VaultNotFoundError, VaultDeletedError
        DeviceRevokedError
    """
    row = await store.vault(connection, device_pass.vault)
    if row is None:
        raise await missing(connection, device_pass.vault)
    if not await store.is_member(connection, device_pass.vault, device_pass.device):
        raise DeviceRevokedError
    return row


async def missing(connection: Connection, vault: VaultId) -> VaultNotFoundError | VaultDeletedError:
    """Why there is no such vault: devices give back what was lost, and not what was deleted."""
    if await deletion_store.is_deleted(connection, vault):
        return VaultDeletedError()
    return VaultNotFoundError()
