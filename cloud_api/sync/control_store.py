"""The device list as it was received, and what of it is asked all the time."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.db import AccountId, Connection
from cloud_api.devices.names import VaultId


class EntryRow(Struct, frozen=True):
    seq: int
    hash: bytes
    entry: bytes


class NewDevice(Struct, frozen=True):
    id: UUID
    sign_public: bytes


class NewStream(Struct, frozen=True):
    id: bytes
    device: UUID


async def entries(
    connection: Connection, vault: VaultId, *, after: int, most: int
) -> list[EntryRow]:
    async with connection.cursor(row_factory=class_row(EntryRow)) as cursor:
        await cursor.execute(
            "SELECT seq, hash, entry FROM control_entries WHERE vault_id = %s AND seq > %s ORDER BY seq LIMIT %s",
            [vault, after, most],
        )
        return await cursor.fetchall()


async def entry_hash(connection: Connection, vault: VaultId, seq: int) -> bytes | None:
    cursor = await connection.execute(
        "SELECT hash FROM control_entries WHERE vault_id = %s AND seq = %s", [vault, seq]
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def add_entries(
    connection: Connection,
    account: AccountId,
    vault: VaultId,
    new: Sequence[EntryRow],
    *,
    now: datetime,
) -> None:
    await connection.cursor().executemany(
        "INSERT INTO control_entries (account_id, vault_id, seq, hash, entry, received_at) VALUES (%s, %s, %s, %s, %s, %s)",
        [(account, vault, each.seq, each.hash, each.entry, now) for each in new],
    )


async def reach(connection: Connection, vault: VaultId, last: EntryRow, *, more: int) -> None:
    """The vault's list ends with `last` now, and takes so many bytes more."""
    await connection.execute(
        "UPDATE vaults SET control_seq = %s, control_hash = %s, used_bytes = used_bytes + %s WHERE id = %s",
        [last.seq, last.hash, more, vault],
    )


async def add_devices(
    connection: Connection,
    account: AccountId,
    vault: VaultId,
    devices: Sequence[NewDevice],
    *,
    now: datetime,
) -> None:
    await connection.cursor().executemany(
        "INSERT INTO devices (account_id, vault_id, id, sign_public, added_at) VALUES (%s, %s, %s, %s, %s)",
        [(account, vault, each.id, each.sign_public, now) for each in devices],
    )


async def add_streams(
    connection: Connection, account: AccountId, vault: VaultId, streams: Sequence[NewStream]
) -> None:
    await connection.cursor().executemany(
        "INSERT INTO streams (account_id, vault_id, id, device_id) VALUES (%s, %s, %s, %s)",
        [(account, vault, each.id, each.device) for each in streams],
    )


async def revoke_devices(
    connection: Connection, vault: VaultId, devices: Sequence[UUID], *, now: datetime
) -> None:
    await connection.execute(
        "UPDATE devices SET revoked_at = %s WHERE vault_id = %s AND id = ANY(%s)",
        [now, vault, list(devices)],
    )
