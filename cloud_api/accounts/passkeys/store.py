"""Passkeys, and challenges of people who are not known yet."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.accounts.possession import act_as, hold
from cloud_api.db import AccountId, Connection

# Authenticators refuse a second credential of one account themselves; more than this is nobody's pocket.
PASSKEYS_MAX = 20


class PasskeyRow(Struct, frozen=True):
    id: UUID
    name: str
    created_at: datetime
    used_at: datetime | None


class CredentialRow(Struct, frozen=True):
    id: UUID
    credential_id: bytes
    public_key: bytes
    sign_count: int
    needs_password: bool


async def of(connection: Connection, account: AccountId) -> list[PasskeyRow]:
    async with connection.cursor(row_factory=class_row(PasskeyRow)) as cursor:
        await cursor.execute(
            "SELECT id, name, created_at, used_at FROM passkeys WHERE account_id = %s ORDER BY id LIMIT %s",
            [account, PASSKEYS_MAX],
        )
        return await cursor.fetchall()


async def credential_ids(connection: Connection, account: AccountId) -> list[bytes]:
    cursor = await connection.execute(
        "SELECT credential_id FROM passkeys WHERE account_id = %s ORDER BY id LIMIT %s",
        [account, PASSKEYS_MAX],
    )
    return [bytes(row[0]) for row in await cursor.fetchall()]


async def add(
    connection: Connection,
    account: AccountId,
    *,
    credential_id: bytes,
    public_key: bytes,
    sign_count: int,
    name: str,
    now: datetime,
) -> PasskeyRow | None:
    """None when this credential is known already, whoever has it."""
    async with connection.cursor(row_factory=class_row(PasskeyRow)) as cursor:
        await cursor.execute(
            "INSERT INTO passkeys (account_id, credential_id, public_key, sign_count, name, created_at) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (credential_id) DO NOTHING "
            "RETURNING id, name, created_at, used_at",
            [account, credential_id, public_key, sign_count, name, now],
        )
        return await cursor.fetchone()


async def owner(connection: Connection, credential_id: bytes) -> AccountId | None:
    """Whose it is; from then on the transaction sees that account."""
    cursor = await connection.execute("SELECT account_of_passkey(%s)", [credential_id])
    row = await cursor.fetchone()
    account: AccountId | None = row[0] if row else None
    await act_as(connection, account)
    return account


async def lock_credential(
    connection: Connection, account: AccountId, credential_id: bytes
) -> CredentialRow | None:
    async with connection.cursor(row_factory=class_row(CredentialRow)) as cursor:
        await cursor.execute(
            "SELECT id, credential_id, public_key, sign_count, needs_password FROM passkeys "
            "WHERE account_id = %s AND credential_id = %s FOR UPDATE",
            [account, credential_id],
        )
        return await cursor.fetchone()


async def used(
    connection: Connection, account: AccountId, passkey: UUID, *, sign_count: int, now: datetime
) -> None:
    """Also: the password was shown with it, where it was needed."""
    await connection.execute(
        "UPDATE passkeys SET sign_count = %s, used_at = %s, needs_password = false WHERE account_id = %s AND id = %s",
        [sign_count, now, account, passkey],
    )


async def remove(connection: Connection, account: AccountId, passkey: UUID) -> bool:
    cursor = await connection.execute(
        "DELETE FROM passkeys WHERE account_id = %s AND id = %s", [account, passkey]
    )
    return cursor.rowcount == 1


async def add_challenge(
    connection: Connection, digest: bytes, challenge: bytes, *, expires_at: datetime
) -> None:
    await hold(connection, digest)
    await connection.execute(
        "INSERT INTO passkey_challenges (digest, challenge, expires_at) VALUES (%s, %s, %s)",
        [digest, challenge, expires_at],
    )


async def take_challenge(connection: Connection, digest: bytes, *, now: datetime) -> bytes | None:
    await hold(connection, digest)
    cursor = await connection.execute(
        "DELETE FROM passkey_challenges WHERE digest = %s AND expires_at > %s RETURNING challenge",
        [digest, now],
    )
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])
