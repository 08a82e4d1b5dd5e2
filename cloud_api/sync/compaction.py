"""Deleting what a snapshot holds as well: only with the word of a second device, thirty days after it, a piece at a time.

Each piece is a transaction of its own that leaves the vault whole, so that a job that is broken off goes on where it was. A receipt
says what was deleted.
"""

from cloud_api.db import AccountId
from cloud_api.devices.names import VaultId
from cloud_api.jobs import enqueue
from cloud_api.sync import rules, segment_store, snapshot_store, store
from cloud_api.sync.relay import Relay
from cloud_api.sync.snapshot_store import Receipt
from cloud_api.sync.snapshots import vouched
from cloud_api.sync.tasks import REMOVE, BlobNames
from shared.errors import CorruptError
from sync_service.sealed.manifests import read

VAULTS_PER_RUN_MAX = 200
PIECES_PER_RUN_MAX = 100  # of one vault: a million batches an hour


async def compact_due(relay: Relay, *, at_once: int = rules.COMPACTED_AT_ONCE_MAX) -> int:
    """Every vault whose snapshot is old enough; how many batches were deleted.

    Raises:
        CorruptError: a vault is damaged; all the others were looked after.
    """
    before = relay.clock() - rules.GRACE
    async with relay.db.transaction() as connection:
        due = await snapshot_store.to_compact(connection, before, VAULTS_PER_RUN_MAX)
    removed = 0
    damaged: CorruptError | None = None
    for each in due:
        try:
            removed += await _compact_all(
                relay, AccountId(each.account_id), VaultId(each.vault_id), at_once
            )
        except CorruptError as error:
            damaged = error
    if damaged is not None:
        raise damaged
    return removed


async def remove_spare_segments(relay: Relay) -> int:
    """Segments that no manifest names; how many."""
    before = relay.clock() - rules.SPARE_SEGMENTS_KEPT
    async with relay.db.transaction() as connection:
        found = await segment_store.with_spare_segments(connection, before, VAULTS_PER_RUN_MAX)
    removed = 0
    for each in found:
        vault = VaultId(each.vault_id)
        async with relay.db.transaction(AccountId(each.account_id)) as connection:
            if await store.lock(connection, vault) is None:
                continue
            gone = await segment_store.drop_spare_segments(
                connection, vault, begun_before=before, most=rules.REMOVED_AT_ONCE_MAX
            )
            if gone:
                await store.use_bytes(connection, vault, -sum(row.size for row in gone))
                await enqueue(connection, REMOVE, BlobNames(tuple(row.blob for row in gone)))
        removed += len(gone)
    return removed


async def remove_blobs(relay: Relay, asked: BlobNames) -> None:
    for name in asked.names:
        await relay.blobs.delete(name)


async def _compact_all(relay: Relay, account: AccountId, vault: VaultId, at_once: int) -> int:
    removed = 0
    for _ in range(PIECES_PER_RUN_MAX):
        piece = await _compact(relay, account, vault, at_once)
        if piece is None:
            break
        removed += piece
    return removed


async def _compact(relay: Relay, account: AccountId, vault: VaultId, at_once: int) -> int | None:
    """One piece: how many batches were deleted, or None when there is nothing more to do."""
    now = relay.clock()
    async with relay.db.transaction(account) as connection:
        row = await store.lock(connection, vault)
        manifest = await snapshot_store.newest_vouched(connection, vault, now - rules.GRACE)
        if row is None or manifest is None:
            return None
        members = await relay.chains.current(connection, row)
        if not await vouched(connection, vault, manifest, members):
            # Who vouched was removed since: others have to.
            await snapshot_store.withdraw(connection, vault, manifest.id)
            return 0
        covers = [(head.stream, head.seq) for head in read(manifest.manifest).covers]
        up_to = await snapshot_store.covered_to(
            connection, vault, covers, after=row.min_pos, most=at_once
        )
        if up_to == row.min_pos:
            gone = await snapshot_store.is_applied(connection, vault, manifest.id, now=now)
            await store.use_bytes(connection, vault, -gone)
            return 0
        removed = await snapshot_store.remove_batches(connection, vault, up_to=up_to)
        await snapshot_store.add_receipt(
            connection,
            account,
            vault,
            Receipt(manifest.id, up_to, removed.batches, removed.size),
            now=now,
        )
        return removed.batches
