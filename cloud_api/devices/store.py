"""Devices that log in, challenges that were used, and messages between two that pair."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.db import AccountId, Connection
from cloud_api.devices.names import DeviceId, VaultId


class DeviceKey(Struct, frozen=True):
    account_id: UUID
    sign_public: bytes


async def device(connection: Connection, vault: VaultId, device: DeviceId) -> DeviceKey | None:
    """Of any account: who asks has no other name yet. None also for one that was removed."""
    async with connection.cursor(row_factory=class_row(DeviceKey)) as cursor:
        await cursor.execute(
            "SELECT account_id, sign_public FROM device_of_vault(%s, %s)", [vault, device]
        )
        return await cursor.fetchone()


async def is_vault_deleted(connection: Connection, vault: VaultId) -> bool:
    """By whatever account, and set up by none since."""
    cursor = await connection.execute("SELECT is_vault_deleted(%s)", [vault])
    return await cursor.fetchone() == (True,)


async def spend(
    connection: Connection, account: AccountId, digest: bytes, *, expires_at: datetime
) -> bool:
    """Whether nobody had used this challenge before."""
    cursor = await connection.execute(
        "INSERT INTO spent_challenges (account_id, digest, expires_at) VALUES (%s, %s, %s) "
        "ON CONFLICT (digest) DO NOTHING",
        [account, digest, expires_at],
    )
    return cursor.rowcount == 1


async def see(connection: Connection, vault: VaultId, device: DeviceId, now: datetime) -> bool:
    """Whether it is still one of the vault's devices; then it was seen now."""
    cursor = await connection.execute(
        "UPDATE devices SET seen_at = %s WHERE vault_id = %s AND id = %s AND revoked_at IS NULL",
        [now, vault, device],
    )
    return cursor.rowcount == 1


async def lock_mailboxes(connection: Connection, account: AccountId) -> None:
    """So that two who put at the same moment cannot both be the last that there was room for."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('mailboxes ' || %s::text, 0))", [account]
    )


async def count_messages(connection: Connection, account: AccountId, now: datetime) -> int:
    cursor = await connection.execute(
        "SELECT count(*) FROM mailboxes WHERE account_id = %s AND expires_at > %s", [account, now]
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def message(
    connection: Connection, account: AccountId, name: UUID, slot: str, now: datetime
) -> bytes | None:
    cursor = await connection.execute(
        "SELECT message FROM mailboxes WHERE account_id = %s AND name = %s AND slot = %s AND expires_at > %s",
        [account, name, slot, now],
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def put_message(
    connection: Connection,
    account: AccountId,
    *,
    name: UUID,
    slot: str,
    message: bytes,
    now: datetime,
    expires_at: datetime,
) -> bool:
    """Whether the slot was free; what has run out leaves it free."""
    cursor = await connection.execute(
        "INSERT INTO mailboxes AS m (account_id, name, slot, message, expires_at) "
        "VALUES (%(account)s, %(name)s, %(slot)s, %(message)s, %(expires_at)s) "
        "ON CONFLICT (account_id, name, slot) DO UPDATE "
        "SET message = excluded.message, expires_at = excluded.expires_at WHERE m.expires_at <= %(now)s",
        {
            "account": account,
            "name": name,
            "slot": slot,
            "message": message,
            "expires_at": expires_at,
            "now": now,
        },
    )
    return cursor.rowcount == 1


async def forget_run_out(connection: Connection, now: datetime, most: int) -> int:
    cursor = await connection.execute("SELECT forget_pairing(%s, %s)", [now, most])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
