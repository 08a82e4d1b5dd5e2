"""Manifests of snapshots and who vouches for them, in the database; and the deletion of what they cover."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.db import AccountId, Connection
from cloud_api.devices.names import DeviceId, VaultId
from sync_service.sealed import vectors


class ManifestRow(Struct, frozen=True):
    id: UUID
    manifest: bytes
    received_at: datetime
    vouched_at: datetime | None
    applied_at: datetime | None


class Receipt(Struct, frozen=True):
    manifest: UUID
    up_to_pos: int
    batches: int
    size: int


class NewCosignature(Struct, frozen=True):
    manifest: UUID
    device: UUID
    signature: bytes


class NewManifest(Struct, frozen=True):
    id: UUID
    device: UUID
    manifest: bytes
    segments: tuple[UUID, ...]


class VaultName(Struct, frozen=True):
    account_id: UUID
    vault_id: UUID


class Removed(Struct, frozen=True):
    batches: int
    size: int


_MANIFEST = "id, manifest, received_at, vouched_at, applied_at"
# Lists of vectors name segments, too, and are kept beside the manifests; what they begin with tells them from these.
_IS_VECTOR_LIST = f"substring(manifest FROM 2 FOR {len(vectors.MARK)}) = %s"


async def add_manifest(
    connection: Connection,
    account: AccountId,
    vault: VaultId,
    new: NewManifest,
    *,
    now: datetime,
) -> None:
    await connection.execute(
        "INSERT INTO manifests (account_id, vault_id, id, device_id, manifest, segments, received_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [account, vault, new.id, new.device, new.manifest, list(new.segments), now],
    )


async def manifest(connection: Connection, vault: VaultId, manifest_id: UUID) -> ManifestRow | None:
    async with connection.cursor(row_factory=class_row(ManifestRow)) as cursor:
        await cursor.execute(
            f"SELECT {_MANIFEST} FROM manifests WHERE vault_id = %s AND id = %s",  # noqa: S608 (ours)
            [vault, manifest_id],
        )
        return await cursor.fetchone()


async def manifests(connection: Connection, vault: VaultId, most: int) -> list[ManifestRow]:
    """The newest first."""
    async with connection.cursor(row_factory=class_row(ManifestRow)) as cursor:
        await cursor.execute(
            f"SELECT {_MANIFEST} FROM manifests WHERE vault_id = %s AND NOT {_IS_VECTOR_LIST} "  # noqa: S608 (ours)
            "ORDER BY received_at DESC, id DESC LIMIT %s",
            [vault, vectors.MARK, most],
        )
        return await cursor.fetchall()


async def vector_lists(connection: Connection, vault: VaultId, most: int) -> list[bytes]:
    """The newest first."""
    cursor = await connection.execute(
        f"SELECT manifest FROM manifests WHERE vault_id = %s AND {_IS_VECTOR_LIST} "  # noqa: S608 (ours)
        "ORDER BY received_at DESC, id DESC LIMIT %s",
        [vault, vectors.MARK, most],
    )
    return [raw for (raw,) in await cursor.fetchall()]


async def drop_vector_lists(connection: Connection, vault: VaultId, device: DeviceId) -> int:
    """Those of one device; how many bytes they had. Their segments are named by nobody then."""
    cursor = await connection.execute(
        f"WITH gone AS (DELETE FROM manifests WHERE vault_id = %s AND device_id = %s AND {_IS_VECTOR_LIST} "  # noqa: S608 (ours)
        "RETURNING length(manifest) AS bytes) SELECT coalesce(sum(bytes), 0) FROM gone",
        [vault, device, vectors.MARK],
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def newest_manifest(connection: Connection, vault: VaultId) -> UUID | None:
    found = await manifests(connection, vault, 1)
    return found[0].id if found else None


async def add_cosignature(
    connection: Connection,
    account: AccountId,
    vault: VaultId,
    new: NewCosignature,
    *,
    now: datetime,
) -> None:
    await connection.execute(
        "INSERT INTO cosignatures (account_id, vault_id, manifest_id, device_id, signature, received_at) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (vault_id, manifest_id, device_id) DO NOTHING",
        [account, vault, new.manifest, new.device, new.signature, now],
    )


async def cosigners(connection: Connection, vault: VaultId, manifest_id: UUID) -> list[UUID]:
    cursor = await connection.execute(
        "SELECT device_id FROM cosignatures WHERE vault_id = %s AND manifest_id = %s",
        [vault, manifest_id],
    )
    return [device for (device,) in await cursor.fetchall()]


async def cosignatures(connection: Connection, vault: VaultId, manifest_id: UUID) -> list[bytes]:
    cursor = await connection.execute(
        "SELECT signature FROM cosignatures WHERE vault_id = %s AND manifest_id = %s ORDER BY device_id",
        [vault, manifest_id],
    )
    return [signature for (signature,) in await cursor.fetchall()]


async def vouch(
    connection: Connection, vault: VaultId, manifest_id: UUID, *, now: datetime
) -> None:
    await connection.execute(
        "UPDATE manifests SET vouched_at = %s WHERE vault_id = %s AND id = %s AND vouched_at IS NULL",
        [now, vault, manifest_id],
    )


async def withdraw(connection: Connection, vault: VaultId, manifest_id: UUID) -> None:
    await connection.execute(
        "UPDATE manifests SET vouched_at = NULL WHERE vault_id = %s AND id = %s",
        [vault, manifest_id],
    )


async def to_compact(
    connection: Connection, vouched_before: datetime, most: int
) -> list[VaultName]:
    async with connection.cursor(row_factory=class_row(VaultName)) as cursor:
        await cursor.execute(
            "SELECT account_id, vault_id FROM vaults_to_compact(%s, %s)", [vouched_before, most]
        )
        return await cursor.fetchall()


async def newest_vouched(
    connection: Connection, vault: VaultId, vouched_before: datetime
) -> ManifestRow | None:
    """The newest one whose grace is over and that was not applied yet."""
    async with connection.cursor(row_factory=class_row(ManifestRow)) as cursor:
        await cursor.execute(
            f"SELECT {_MANIFEST} FROM manifests WHERE vault_id = %s AND applied_at IS NULL AND vouched_at <= %s "  # noqa: S608 (ours)
            "ORDER BY received_at DESC, id DESC LIMIT 1",
            [vault, vouched_before],
        )
        return await cursor.fetchone()


async def covered_to(
    connection: Connection,
    vault: VaultId,
    covers: Sequence[tuple[bytes, int]],
    *,
    after: int,
    most: int,
) -> int:
    """The position up to which, without a gap, every batch is at or before its stream's head in `covers`."""
    cursor = await connection.execute(
        """
        WITH following AS (
            SELECT pos, stream_id, seq FROM batches WHERE vault_id = %(vault)s AND pos > %(after)s ORDER BY pos LIMIT %(most)s
        ), beyond AS (
            SELECT min(f.pos) AS pos FROM following f
            LEFT JOIN unnest(%(streams)s::bytea[], %(seqs)s::bigint[]) AS c (stream, seq) ON c.stream = f.stream_id
            WHERE f.seq > coalesce(c.seq, 0)
        )
        SELECT coalesce((SELECT pos - 1 FROM beyond), (SELECT max(pos) FROM following), %(after)s)
        """,
        {
            "vault": vault,
            "after": after,
            "most": most,
            "streams": [stream for stream, _ in covers],
            "seqs": [seq for _, seq in covers],
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def remove_batches(connection: Connection, vault: VaultId, *, up_to: int) -> Removed:
    cursor = await connection.execute(
        """
        WITH gone AS (DELETE FROM batches WHERE vault_id = %(vault)s AND pos <= %(up_to)s RETURNING bytes),
            figures AS (SELECT count(*) AS batches, coalesce(sum(bytes), 0) AS bytes FROM gone),
            moved AS (
                UPDATE vaults SET min_pos = %(up_to)s, used_bytes = greatest(0, used_bytes - figures.bytes)
                FROM figures WHERE id = %(vault)s)
        SELECT batches, bytes FROM figures
        """,
        {"vault": vault, "up_to": up_to},
    )
    row = await cursor.fetchone()
    assert row is not None
    return Removed(int(row[0]), int(row[1]))


async def add_receipt(
    connection: Connection,
    account: AccountId,
    vault: VaultId,
    receipt: Receipt,
    *,
    now: datetime,
) -> None:
    await connection.execute(
        "INSERT INTO compactions (account_id, vault_id, manifest_id, up_to_pos, batches, bytes, done_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [account, vault, receipt.manifest, receipt.up_to_pos, receipt.batches, receipt.size, now],
    )


async def is_applied(
    connection: Connection, vault: VaultId, manifest_id: UUID, *, now: datetime
) -> int:
    """Everything it covers is deleted; manifests before it go as well. Returns how many bytes they had."""
    await connection.execute(
        "UPDATE manifests SET applied_at = %s WHERE vault_id = %s AND id = %s",
        [now, vault, manifest_id],
    )
    cursor = await connection.execute(
        "WITH gone AS (DELETE FROM manifests m USING manifests newer "
        "WHERE m.vault_id = %(vault)s AND newer.vault_id = %(vault)s AND newer.id = %(id)s "
        "AND (m.received_at, m.id) < (newer.received_at, newer.id) RETURNING length(m.manifest) AS bytes) "
        "SELECT coalesce(sum(bytes), 0) FROM gone",
        {"vault": vault, "id": manifest_id},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
