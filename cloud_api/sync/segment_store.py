"""Segments of snapshots in the database: which there are, and where their files lie."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.db import AccountId, Connection
from cloud_api.devices.names import VaultId
from cloud_api.sync.snapshot_store import VaultName


class SegmentRow(Struct, frozen=True):
    name: UUID
    hash: bytes
    size: int
    blob: str
    stored_at: datetime | None


class NewSegment(Struct, frozen=True):
    name: UUID
    hash: bytes
    size: int


_SEGMENT = "name, hash, bytes AS size, blob, stored_at"


async def segment(connection: Connection, vault: VaultId, name: UUID) -> SegmentRow | None:
    found = await segments(connection, vault, [name])
    return found[0] if found else None


async def segments(
    connection: Connection, vault: VaultId, names: Sequence[UUID]
) -> list[SegmentRow]:
    async with connection.cursor(row_factory=class_row(SegmentRow)) as cursor:
        await cursor.execute(
            f"SELECT {_SEGMENT} FROM segments WHERE vault_id = %s AND name = ANY(%s)",  # noqa: S608 (ours)
            [vault, list(names)],
        )
        return await cursor.fetchall()


async def count(connection: Connection, vault: VaultId) -> int:
    cursor = await connection.execute("SELECT count(*) FROM segments WHERE vault_id = %s", [vault])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def begin_segment(
    connection: Connection,
    account: AccountId,
    vault: VaultId,
    new: NewSegment,
    *,
    now: datetime,
) -> str:
    """The name of its file, which no other segment ever has: one that is sent again after it was deleted must not lose its file to
    the job that removes the former one's."""
    cursor = await connection.execute(
        "INSERT INTO segments (account_id, vault_id, name, hash, bytes, blob, begun_at) "
        "VALUES (%s, %s, %s, %s, %s, %s || gen_random_uuid(), %s) RETURNING blob",
        [account, vault, new.name, new.hash, new.size, f"segments/{vault.hex}/", now],
    )
    row = await cursor.fetchone()
    assert row is not None
    return str(row[0])


async def segment_is_stored(
    connection: Connection, vault: VaultId, name: UUID, blob: str, *, now: datetime
) -> bool:
    """Whether it was still wanted."""
    cursor = await connection.execute(
        "UPDATE segments SET stored_at = %s WHERE vault_id = %s AND name = %s AND blob = %s",
        [now, vault, name, blob],
    )
    return cursor.rowcount == 1


async def blobs(connection: Connection, vault: VaultId) -> list[str]:
    cursor = await connection.execute("SELECT blob FROM segments WHERE vault_id = %s", [vault])
    return [blob for (blob,) in await cursor.fetchall()]


async def with_spare_segments(
    connection: Connection, begun_before: datetime, most: int
) -> list[VaultName]:
    async with connection.cursor(row_factory=class_row(VaultName)) as cursor:
        await cursor.execute(
            "SELECT account_id, vault_id FROM vaults_with_spare_segments(%s, %s)",
            [begun_before, most],
        )
        return await cursor.fetchall()


async def drop_spare_segments(
    connection: Connection, vault: VaultId, *, begun_before: datetime, most: int
) -> list[SegmentRow]:
    """Of segments that no manifest names."""
    async with connection.cursor(row_factory=class_row(SegmentRow)) as cursor:
        await cursor.execute(
            f"DELETE FROM segments WHERE vault_id = %(vault)s AND name IN ("  # noqa: S608 (ours)
            "SELECT s.name FROM segments s WHERE s.vault_id = %(vault)s AND s.begun_at <= %(before)s AND NOT EXISTS ("
            "SELECT FROM manifests m WHERE m.vault_id = %(vault)s AND s.name = ANY (m.segments)) LIMIT %(most)s) "
            f"RETURNING {_SEGMENT}",
            {"vault": vault, "before": begun_before, "most": most},
        )
        return await cursor.fetchall()
