"""The device list: read, and made longer by one entry. The law that an entry has to keep is the one that devices check."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cloud_api.db import AccountId, Connection
from cloud_api.devices.names import VaultId
from cloud_api.devices.passes import Pass
from cloud_api.sync import control_store, rules, store
from cloud_api.sync.control_store import EntryRow, NewDevice, NewStream
from cloud_api.sync.refusals import (
    ControlConflictError,
    ControlFullError,
    ControlRefusedError,
)
from cloud_api.sync.relay import Relay, locked, missing, seen
from shared.errors import SunaivaError
from sync_service.members.control import Members, OutOfOrderError, extend, lasts_named
from sync_service.members.entries import entry_hash
from sync_service.relay import is_stranding


class Changes(Struct, frozen=True):
    """What an entry changes of what is asked all the time."""

    devices: tuple[NewDevice, ...]
    streams: tuple[NewStream, ...]
    revoked: tuple[UUID, ...]


async def read(
    relay: Relay, account: AccountId, vault: VaultId, device_pass: Pass | None, *, after: int
) -> list[bytes]:
    """Entries after `after`, as many as go into one answer; empty at the end. With a pass, for a device that belongs to it.

    Raises:
        VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    async with relay.db.transaction(account) as connection:
        if device_pass is not None:
            await seen(relay, connection, device_pass)
        elif await store.vault(connection, vault) is None:
            raise await missing(connection, vault)
        found = await control_store.entries(
            connection, vault, after=after, most=rules.CONTROL_ENTRIES_MAX
        )
    return rules.fitting((each.entry for each in found), rules.CONTROL_PAGE_BYTES_MAX)


async def append(
    relay: Relay, account: AccountId, vault: VaultId, device_pass: Pass | None, entry: bytes
) -> int:
    """The sequence number that the list has now. The same entry again changes nothing.

    A pass is not needed: whoever recovers by words, or was just paired, has none yet. The entry's own signature decides.

    Raises:
        ControlConflictError: somebody was faster.
        ControlRefusedError: it breaks the law of device lists.
        ControlFullError, VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    now = relay.clock()
    async with relay.turns.of(vault), relay.db.transaction(account) as connection:
        row, members = await locked(relay, connection, vault, device_pass)
        if await _is_there(connection, vault, entry, row.control_seq):
            return row.control_seq
        if row.control_seq >= rules.CONTROL_ENTRIES_MAX:
            raise ControlFullError(
                "This vault's device list has no more room. Export your memories and set up a new vault."
            )
        extended = _extended(members, entry)
        await _demand_nothing_stranded(connection, vault, members, extended)
        last = EntryRow(extended.seq, extended.hash, entry)
        await control_store.add_entries(connection, account, vault, [last], now=now)
        await control_store.reach(connection, vault, last, more=len(entry))
        await store_changes(connection, account, vault, changes(members, extended), now=now)
    relay.chains.keep(extended)
    relay.nudges.tell(vault)
    return extended.seq


def changes(before: Members | None, after: Members) -> Changes:
    known = {} if before is None else before.members
    held = {stream for member in known.values() for stream in member.streams}
    gone = {device for device, member in known.items() if member.revoked is not None}
    return Changes(
        devices=tuple(
            NewDevice(UUID(bytes=device), member.sign_public)
            for device, member in after.members.items()
            if device not in known
        ),
        streams=tuple(
            NewStream(stream, UUID(bytes=device))
            for device, member in after.members.items()
            for stream in member.streams
            if stream not in held
        ),
        revoked=tuple(
            UUID(bytes=device)
            for device, member in after.members.items()
            if member.revoked is not None and device not in gone
        ),
    )


async def store_changes(
    connection: Connection,
    account: AccountId,
    vault: VaultId,
    changed: Changes,
    *,
    now: datetime,
) -> None:
    if changed.devices:
        await control_store.add_devices(connection, account, vault, changed.devices, now=now)
    if changed.streams:
        await control_store.add_streams(connection, account, vault, changed.streams)
    if changed.revoked:
        await control_store.revoke_devices(connection, vault, changed.revoked, now=now)


def entry_refused(error: SunaivaError) -> ControlRefusedError:
    return ControlRefusedError(
        f"This entry of the device list cannot be taken. {error}", reason=error.code
    )


async def _is_there(connection: Connection, vault: VaultId, entry: bytes, last: int) -> bool:
    """Sent again because an answer was lost: the newest entries are compared, no others are sent again."""
    found: Sequence[EntryRow] = await control_store.entries(
        connection, vault, after=max(0, last - 8), most=8
    )
    return any(each.hash == entry_hash(entry) for each in found)


async def _demand_nothing_stranded(
    connection: Connection, vault: VaultId, before: Members, after: Members
) -> None:
    named = lasts_named(before, after)
    if not named:
        return
    heads = await store.heads(vault, named).within(connection)
    if is_stranding(before, after, dict(heads)):
        raise ControlConflictError(
            "The device that is to be removed has sent more than this entry counts. Read it, then decide again.",
            control_seq=before.seq,
        )


def _extended(members: Members, entry: bytes) -> Members:
    try:
        return extend(members, entry)
    except OutOfOrderError:
        raise ControlConflictError(
            "The device list does not end where this entry goes on: another device was faster. Read it, then decide again.",
            control_seq=members.seq,
        ) from None
    except SunaivaError as error:
        raise entry_refused(error) from None
