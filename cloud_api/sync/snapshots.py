"""Snapshots that devices leave here: segments as files, a manifest that names them, and the word of another device that they are right."""

import asyncio
import hashlib
from collections.abc import Sequence
from uuid import UUID

from cloud_api.blobs import BlobNotFoundError
from cloud_api.db import Connection
from cloud_api.devices.names import VaultId
from cloud_api.devices.passes import Pass
from cloud_api.sync import rules, segment_store, snapshot_store, store
from cloud_api.sync.placing import demand_entitlement, demand_room
from cloud_api.sync.refusals import (
    ManifestAheadError,
    ManifestForgedError,
    ManifestNotFoundError,
    ManifestRefusedError,
    ManifestsFullError,
    SegmentMalformedError,
    SegmentNotFoundError,
    SegmentTakenError,
    VaultFullError,
)
from cloud_api.sync.relay import Relay, locked, seen
from cloud_api.sync.segment_store import NewSegment
from cloud_api.sync.snapshot_store import (
    ManifestRow,
    NewCosignature,
    NewManifest,
)
from cloud_api.sync.store import VaultRow
from sync_service.changes.ops import MalformedError
from sync_service.members.control import Members
from sync_service.relay import may_compact
from sync_service.sealed import vectors
from sync_service.sealed.frames import ForgedError
from sync_service.sealed.manifests import (
    Manifest,
    id_of,
    verify,
    verify_cosignature,
)
from sync_service.sealed.manifests import read as read_raw
from sync_service.sealed.pieces import SEGMENT_BYTES_MAX, Segment


async def put_segment(relay: Relay, device_pass: Pass, name: UUID, data: bytes) -> None:
    """Keeps it. The same again is the same.

    Raises:
        SegmentTakenError, SegmentMalformedError, VaultFullError, NotEntitledError, BlobsUnavailableError
        VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    if not 0 < len(data) <= SEGMENT_BYTES_MAX:
        raise SegmentMalformedError(f"A segment has 1 to {SEGMENT_BYTES_MAX} bytes.")
    account, vault = device_pass.account, device_pass.vault
    digest = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
    async with relay.db.transaction(account) as connection:
        row, _ = await locked(relay, connection, device_pass.vault, device_pass)
        there = await segment_store.segment(connection, vault, name)
        if there is not None and there.hash != digest:
            raise SegmentTakenError("Another segment has this name. Take a new random name.")
        if there is not None and there.stored_at is not None:
            return
        if there is not None:
            blob = there.blob
        else:
            demand_entitlement(await relay.may_push(connection, account))
            demand_room(row, len(data))
            await _demand_place(connection, row)
            new = NewSegment(name, digest, len(data))
            blob = await segment_store.begin_segment(
                connection, account, vault, new, now=relay.clock()
            )
            await store.use_bytes(connection, vault, len(data))
    # Outside of any transaction; broken off here, the row only reserves its room, and a later put goes on.
    await relay.blobs.put_bytes(blob, data)
    async with relay.db.transaction(account) as connection:
        is_wanted = await segment_store.segment_is_stored(
            connection, vault, name, blob, now=relay.clock()
        )
    if not is_wanted:
        await relay.blobs.delete(blob)


async def _demand_place(connection: Connection, row: VaultRow) -> None:
    if await segment_store.count(connection, VaultId(row.id)) >= rules.SEGMENTS_MAX:
        raise VaultFullError(
            f"This vault has {rules.SEGMENTS_MAX} segments here already. Those that nothing names go after a week; larger ones say more.",
            quota_bytes=row.quota_bytes,
            used_bytes=row.used_bytes,
        )


async def segment(relay: Relay, device_pass: Pass, name: UUID) -> bytes:
    """
    Raises:
        SegmentNotFoundError, BlobsUnavailableError, VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    missing = SegmentNotFoundError(
        "This segment is not kept here (any more). Read the manifests again."
    )
    async with relay.db.transaction(device_pass.account) as connection:
        await seen(relay, connection, device_pass)
        row = await segment_store.segment(connection, device_pass.vault, name)
    if row is None or row.stored_at is None:
        raise missing
    try:
        return await relay.blobs.read(row.blob)
    except BlobNotFoundError:
        raise missing from None


async def put_manifest(relay: Relay, device_pass: Pass, raw: bytes) -> UUID:
    """The id under which it is kept. The same again is the same.

    Raises:
        ManifestRefusedError, ManifestForgedError, ManifestAheadError, ManifestsFullError
        NotEntitledError, VaultFullError, VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    manifest = _read(raw)
    manifest_id = UUID(bytes=id_of(raw))
    names = [UUID(hex=each.name) for each in manifest.segments]
    vault = device_pass.vault
    async with relay.db.transaction(device_pass.account) as connection:
        row, members = await locked(relay, connection, device_pass.vault, device_pass)
        if await snapshot_store.manifest(connection, vault, manifest_id) is not None:
            return manifest_id
        _demand_own(manifest, raw, device_pass, members)
        await demand_stored(connection, vault, manifest.segments)
        await _demand_known(connection, vault, manifest)
        kept = await snapshot_store.manifests(connection, vault, rules.MANIFESTS_MAX)
        if len(kept) >= rules.MANIFESTS_MAX:
            raise ManifestsFullError(
                "There are many snapshots already. Let a second device confirm one, so that older ones can go."
            )
        demand_entitlement(await relay.may_push(connection, device_pass.account))
        demand_room(row, len(raw))
        await snapshot_store.add_manifest(
            connection,
            device_pass.account,
            vault,
            NewManifest(manifest_id, device_pass.device, raw, tuple(names)),
            now=relay.clock(),
        )
        await store.use_bytes(connection, vault, len(raw))
    return manifest_id


async def manifests(relay: Relay, device_pass: Pass) -> list[ManifestRow]:
    """The newest first.

    Raises:
        VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    async with relay.db.transaction(device_pass.account) as connection:
        await seen(relay, connection, device_pass)
        return await snapshot_store.manifests(connection, device_pass.vault, rules.MANIFESTS_MAX)


async def cosign(relay: Relay, device_pass: Pass, manifest_id: UUID, signature: bytes) -> bool:
    """Takes this device's word for a snapshot; whether enough devices vouch for it now.

    Raises:
        ManifestNotFoundError, ManifestForgedError, VaultNotFoundError, VaultDeletedError, DeviceRevokedError
    """
    vault, device = device_pass.vault, device_pass.device
    async with relay.db.transaction(device_pass.account) as connection:
        _, members = await locked(relay, connection, device_pass.vault, device_pass)
        found = await snapshot_store.manifest(connection, vault, manifest_id)
        if found is None or vectors.is_list(found.manifest):
            raise ManifestNotFoundError("There is no such manifest here (any more).")
        public = members.members[device.bytes].sign_public
        try:
            verify_cosignature(signature, manifest_id.bytes, vault.bytes, public)
        except ForgedError as error:
            raise ManifestForgedError(str(error)) from None
        await snapshot_store.add_cosignature(
            connection,
            device_pass.account,
            vault,
            NewCosignature(manifest_id, device, signature),
            now=relay.clock(),
        )
        is_vouched = await vouched(connection, vault, found, members)
        if is_vouched:
            await snapshot_store.vouch(connection, vault, manifest_id, now=relay.clock())
    return is_vouched


async def cosignatures(relay: Relay, device_pass: Pass, manifest_id: UUID) -> list[bytes]:
    """What devices have signed of a snapshot, for those who would start from it; none of one that is not here.

    Raises:
        VaultNotFoundError, DeviceRevokedError
    """
    async with relay.db.transaction(device_pass.account) as connection:
        await seen(relay, connection, device_pass)
        return await snapshot_store.cosignatures(connection, device_pass.vault, manifest_id)


async def vouched(
    connection: Connection, vault: VaultId, row: ManifestRow, members: Members
) -> bool:
    """Whether enough devices of today vouch for it."""
    signers = await snapshot_store.cosigners(connection, vault, row.id)
    return may_compact(members, read_raw(row.manifest).device, {signer.bytes for signer in signers})


def _read(raw: bytes) -> Manifest:
    try:
        return read_raw(raw)
    except MalformedError as error:
        raise ManifestRefusedError(str(error)) from None


def _demand_own(manifest: Manifest, raw: bytes, device_pass: Pass, members: Members) -> None:
    if (manifest.vault, manifest.device) != (device_pass.vault.bytes, device_pass.device.bytes):
        raise ManifestRefusedError("A manifest is of another vault, or of another device.")
    try:
        verify(raw, members.members[manifest.device].sign_public)
    except ForgedError as error:
        raise ManifestForgedError(str(error)) from None


async def demand_stored(
    connection: Connection, vault: VaultId, segments: Sequence[Segment]
) -> None:
    """What a manifest or a list names has to be here, as it says.

    Raises:
        ManifestAheadError
    """
    names = [UUID(hex=said.name) for said in segments]
    found = {row.name: row for row in await segment_store.segments(connection, vault, names)}
    for name, said in zip(names, segments, strict=True):
        row = found.get(name)
        if row is None or row.stored_at is None or (row.hash, row.size) != (said.hash, said.size):
            raise ManifestAheadError(
                "A segment that the manifest names is not here, or another one. Send the segments first."
            )


async def _demand_known(connection: Connection, vault: VaultId, manifest: Manifest) -> None:
    """What it says to cover has to be here: else batches would be deleted that nobody has sent yet."""
    covered = [head.stream for head in manifest.covers]
    heads = dict(await store.heads(vault, covered).within(connection))
    for said in manifest.covers:
        head = heads.get(said.stream)
        if head is None or said.seq > head.seq or (said.seq == head.seq and said.hash != head.hash):
            raise ManifestAheadError(
                "The manifest covers batches that are not here. Send the batches first."
            )
