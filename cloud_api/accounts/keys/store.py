"""Signing keys as they are kept: the private half sealed, under a key that is not in the database."""

from datetime import datetime

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.accounts.keys.rules import KeyTimes
from cloud_api.db import Connection

# Rotated four times a year and kept for as long as they are published: more than this is a fault somewhere.
KEYS_MAX = 50


class KeyRow(Struct, frozen=True):
    kid: str
    public_key: bytes
    sealed_seed: bytes
    signs_from: datetime
    withdrawn_at: datetime | None

    @property
    def times(self) -> KeyTimes:
        return KeyTimes(self.kid, self.signs_from, self.withdrawn_at)


async def newest(connection: Connection) -> list[KeyRow]:
    async with connection.cursor(row_factory=class_row(KeyRow)) as cursor:
        await cursor.execute(
            "SELECT kid, public_key, sealed_seed, signs_from, withdrawn_at FROM signing_keys "
            "ORDER BY signs_from DESC, kid DESC LIMIT %s",
            [KEYS_MAX],
        )
        return await cursor.fetchall()


async def one_at_a_time(connection: Connection) -> None:
    """Two processes that start together make one first key, not two."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('sunaiva signing keys', 0))"
    )


async def add(connection: Connection, key: KeyRow, *, now: datetime) -> None:
    await connection.execute(
        "INSERT INTO signing_keys (kid, public_key, sealed_seed, created_at, signs_from) VALUES (%s, %s, %s, %s, %s)",
        [key.kid, key.public_key, key.sealed_seed, now, key.signs_from],
    )


async def withdraw_all(connection: Connection, *, now: datetime) -> None:
    await connection.execute(
        "UPDATE signing_keys SET withdrawn_at = %s WHERE withdrawn_at IS NULL", [now]
    )
