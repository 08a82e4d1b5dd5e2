"""Vaults of an account: made by the first entries of their device list, shown, and deleted."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from cloud_api.connections import taking
from cloud_api.db import AccountId, Connection
from cloud_api.devices.actions import VaultDeletedError
from cloud_api.devices.names import VaultId
from cloud_api.devices.passes import Pass
from cloud_api.jobs import enqueue
from cloud_api.sync import control_store, deletion_store, rules, segment_store, store
from cloud_api.sync.control import changes, entry_refused, store_changes
from cloud_api.sync.control_store import EntryRow
from cloud_api.sync.refusals import (
    ControlConflictError,
    TooManyVaultsError,
    VaultTakenError,
)
from cloud_api.sync.relay import Relay, missing, seen
from cloud_api.sync.rules import No, Yes
from cloud_api.sync.store import VaultRow
from cloud_api.sync.tasks import REMOVE, BlobNames
from shared.errors import SunaivaError
from sync_service.members.control import Members, begin, extend
from sync_service.members.entries import entry_hash

# A vault of a million batches takes some seconds; nobody waits for it but who asked.
DELETE_SECONDS = 60


class Standing(Struct, frozen=True):
    vault: VaultRow
    verdict: Yes | No


async def create(relay: Relay, account: AccountId, entries: Sequence[bytes]) -> VaultRow:
    """The vault that these entries found. Asked again, it is the same one.

    Raises:
        ControlRefusedError: they are no device list.
        ControlConflictError: it is there, and its list goes on otherwise.
        VaultTakenError: another account has it.
        VaultDeletedError: this account has deleted it, and has not taken that back.
        TooManyVaultsError
    """
    members, rows = _founded(entries)
    vault = VaultId(UUID(bytes=members.vault))
    used = sum(len(entry) for entry in entries)
    now = relay.clock()
    async with relay.db.transaction(account) as connection:
        await store.lock_account(connection, account)
        there = await store.vault(connection, vault)
        if there is not None:
            await _demand_same(connection, vault, there, rows)
            return there
        if await deletion_store.is_deleted(connection, vault):
            raise VaultDeletedError
        if len(await store.vaults(connection, account)) >= rules.VAULTS_MAX:
            raise TooManyVaultsError(
                f"An account has {rules.VAULTS_MAX} vaults at most. Delete one that is not used any more."
            )
        is_new = await store.create(
            connection,
            account,
            members,
            quota_bytes=rules.QUOTA_BYTES,
            used_bytes=used,
            now=now,
        )
        if not is_new:
            raise VaultTakenError(
                "This vault is synced by another account. Delete it there first, or log in to that account."
            )
        await control_store.add_entries(connection, account, vault, rows, now=now)
        await store_changes(connection, account, vault, changes(None, members), now=now)
        created = await store.vault(connection, vault)
    assert created is not None
    relay.chains.keep(members)
    relay.nudges.tell(vault)  # devices may still listen that knew it before it was deleted
    return created


async def listed(relay: Relay, account: AccountId) -> list[VaultRow]:
    async with relay.db.transaction(account) as connection:
        return await store.vaults(connection, account)


async def standing(relay: Relay, device_pass: Pass) -> Standing:
    """
    Raises:
        VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    async with relay.db.transaction(device_pass.account) as connection:
        row = await seen(relay, connection, device_pass)
        return Standing(row, await relay.may_push(connection, device_pass.account))


async def delete(relay: Relay, account: AccountId, vault: VaultId) -> None:
    """With everything in it, here and in the store for files. Devices keep what they hold, and are told that it was deleted.

    Raises:
        VaultNotFoundError, VaultDeletedError
    """
    async with relay.db.transaction(account) as connection:
        if await store.lock(connection, vault) is None:
            raise await missing(connection, vault)
        blobs = await segment_store.blobs(connection, vault)
        for start in range(0, len(blobs), rules.REMOVED_AT_ONCE_MAX):
            some = blobs[start : start + rules.REMOVED_AT_ONCE_MAX]
            await enqueue(connection, REMOVE, BlobNames(tuple(some)))
        async with taking(connection, DELETE_SECONDS):
            await store.delete(connection, vault)
        await deletion_store.remember(connection, account, vault, relay.clock())
    relay.nudges.tell(vault)  # who listens is sent away


async def take_deletion_back(relay: Relay, account: AccountId, vault: VaultId) -> None:
    """A device of it may set it up anew. Nothing, if it was not deleted."""
    async with relay.db.transaction(account) as connection:
        await deletion_store.take_back(connection, account, vault)


def _founded(entries: Sequence[bytes]) -> tuple[Members, list[EntryRow]]:
    members: Members | None = None
    rows: list[EntryRow] = []
    for entry in entries:
        try:
            members = begin(entry) if members is None else extend(members, entry)
        except SunaivaError as error:
            raise entry_refused(error) from None
        rows.append(EntryRow(members.seq, entry_hash(entry), entry))
    assert members is not None, "the route takes no empty list"
    return members, rows


async def _demand_same(
    connection: Connection, vault: VaultId, there: VaultRow, rows: Sequence[EntryRow]
) -> None:
    for row in rows:
        if await control_store.entry_hash(connection, vault, row.seq) != row.hash:
            raise ControlConflictError(
                "This vault is here already, and its device list goes on otherwise. Read it first.",
                control_seq=there.control_seq,
            )
