"""Counts of failed attempts, by a keyed digest of what was tried."""

from psycopg.rows import class_row

from cloud_api.accounts.throttles.rules import Count, Scope
from cloud_api.db import Connection


async def lock(connection: Connection, key: bytes) -> Count | None:
    """The count, which nobody else changes before this transaction ends."""
    # Also where there is no row yet, or two first attempts would both be the first.
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_lock_number(key)])
    async with connection.cursor(row_factory=class_row(Count)) as cursor:
        await cursor.execute(
            "SELECT failures, last_at, blocked_until FROM throttles WHERE key = %s", [key]
        )
        return await cursor.fetchone()


async def keep(connection: Connection, key: bytes, scope: Scope, count: Count) -> None:
    await connection.execute(
        "INSERT INTO throttles (key, scope, failures, last_at, blocked_until) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, last_at = excluded.last_at, "
        "blocked_until = excluded.blocked_until",
        [key, scope, count.failures, count.last_at, count.blocked_until],
    )


async def forget(connection: Connection, key: bytes) -> None:
    await connection.execute("DELETE FROM throttles WHERE key = %s", [key])


async def take_back(connection: Connection, key: bytes) -> None:
    """One attempt was none: it succeeded."""
    await connection.execute(
        "UPDATE throttles SET failures = failures - 1, blocked_until = NULL WHERE key = %s AND failures > 0",
        [key],
    )


def _lock_number(key: bytes) -> int:
    return int.from_bytes(key[:8], "big", signed=True)
