"""Authenticator secrets (sealed), recovery codes (hashed), and which factors an account has."""

from datetime import datetime
from typing import Literal

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.db import AccountId, Connection

Method = Literal["totp", "recovery_code", "passkey"]


class TotpRow(Struct, frozen=True):
    sealed: bytes
    confirmed_at: datetime | None
    last_step: int | None


class Factors(Struct, frozen=True):
    has_totp: bool
    passkeys: int
    recovery_codes: int

    @property
    def any(self) -> bool:
        return self.has_totp or self.passkeys > 0

    @property
    def methods(self) -> list[Method]:
        present: list[tuple[Method, bool]] = [
            ("totp", self.has_totp),
            ("passkey", self.passkeys > 0),
            ("recovery_code", self.recovery_codes > 0),
        ]
        return [method for method, is_there in present if is_there]


async def factors(connection: Connection, account: AccountId) -> Factors:
    async with connection.cursor(row_factory=class_row(Factors)) as cursor:
        await cursor.execute(
            "SELECT EXISTS (SELECT FROM totp_secrets WHERE account_id = %(account)s AND confirmed_at IS NOT NULL) "
            "AS has_totp, (SELECT count(*) FROM passkeys WHERE account_id = %(account)s) AS passkeys, "
            "(SELECT count(*) FROM recovery_codes WHERE account_id = %(account)s) AS recovery_codes",
            {"account": account},
        )
        found = await cursor.fetchone()
    assert found is not None
    return found


async def propose_totp(
    connection: Connection, account: AccountId, sealed: bytes, *, now: datetime
) -> bool:
    """False when there is a confirmed one: it has to be removed first, which needs it."""
    cursor = await connection.execute(
        "INSERT INTO totp_secrets (account_id, sealed, created_at) VALUES (%s, %s, %s) "
        "ON CONFLICT (account_id) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at "
        "WHERE totp_secrets.confirmed_at IS NULL",
        [account, sealed, now],
    )
    return cursor.rowcount == 1


async def lock_totp(connection: Connection, account: AccountId) -> TotpRow | None:
    async with connection.cursor(row_factory=class_row(TotpRow)) as cursor:
        await cursor.execute(
            "SELECT sealed, confirmed_at, last_step FROM totp_secrets WHERE account_id = %s FOR UPDATE",
            [account],
        )
        return await cursor.fetchone()


async def took_step(
    connection: Connection, account: AccountId, step: int, *, now: datetime
) -> None:
    await connection.execute(
        "UPDATE totp_secrets SET last_step = %s, confirmed_at = coalesce(confirmed_at, %s) WHERE account_id = %s",
        [step, now, account],
    )


async def remove_totp(connection: Connection, account: AccountId) -> bool:
    cursor = await connection.execute("DELETE FROM totp_secrets WHERE account_id = %s", [account])
    return cursor.rowcount == 1


async def remove_all(connection: Connection, account: AccountId) -> None:
    await connection.execute("DELETE FROM totp_secrets WHERE account_id = %s", [account])
    await connection.execute("DELETE FROM passkeys WHERE account_id = %s", [account])
    await connection.execute("DELETE FROM recovery_codes WHERE account_id = %s", [account])


async def ask_passwords_of_passkeys(connection: Connection, account: AccountId) -> None:
    """From now on none opens anything alone, until it was shown with the password."""
    await connection.execute(
        "UPDATE passkeys SET needs_password = true WHERE account_id = %s", [account]
    )


async def replace_recovery_codes(
    connection: Connection, account: AccountId, digests: list[bytes], *, now: datetime
) -> None:
    await connection.execute("DELETE FROM recovery_codes WHERE account_id = %s", [account])
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO recovery_codes (account_id, digest, created_at) VALUES (%s, %s, %s)",
            [(account, digest, now) for digest in digests],
        )


async def take_recovery_code(connection: Connection, account: AccountId, digest: bytes) -> bool:
    cursor = await connection.execute(
        "DELETE FROM recovery_codes WHERE account_id = %s AND digest = %s", [account, digest]
    )
    return cursor.rowcount == 1
