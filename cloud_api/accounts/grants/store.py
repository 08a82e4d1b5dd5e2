"""Device authorisations. Whoever holds the device code or the user code sees the row, and nobody else."""

from datetime import datetime, timedelta

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.accounts.grants.rules import Grant
from cloud_api.accounts.possession import hold
from cloud_api.db import AccountId, Connection


class NewGrant(Struct, frozen=True, kw_only=True):
    digest: bytes
    user_code: bytes
    device: str
    network: str
    now: datetime
    expires_at: datetime
    interval: timedelta


class GrantRow(Struct, frozen=True):
    account_id: AccountId | None
    device: str
    network: str
    created_at: datetime
    expires_at: datetime
    interval_seconds: int
    polled_at: datetime | None
    approved: bool | None
    redeemed_at: datetime | None

    @property
    def grant(self) -> Grant:
        return Grant(
            expires_at=self.expires_at,
            interval=timedelta(seconds=self.interval_seconds),
            polled_at=self.polled_at,
            approved=self.approved,
            redeemed_at=self.redeemed_at,
        )


_ROW = "account_id, device, network, created_at, expires_at, interval_seconds, polled_at, approved, redeemed_at"


async def add(connection: Connection, grant: NewGrant) -> bool:
    """False when the user code is taken: make another."""
    await hold(connection, grant.digest)
    cursor = await connection.execute(
        "INSERT INTO device_grants (digest, user_code, device, network, created_at, expires_at, interval_seconds) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (user_code) DO NOTHING",
        [
            grant.digest,
            grant.user_code,
            grant.device,
            grant.network,
            grant.now,
            grant.expires_at,
            int(grant.interval.total_seconds()),
        ],
    )
    return cursor.rowcount == 1


async def lock_by_device_code(connection: Connection, digest: bytes) -> GrantRow | None:
    await hold(connection, digest)
    async with connection.cursor(row_factory=class_row(GrantRow)) as cursor:
        await cursor.execute(
            f"SELECT {_ROW} FROM device_grants WHERE digest = %s FOR UPDATE",  # noqa: S608 (ours)
            [digest],
        )
        return await cursor.fetchone()


async def by_user_code(
    connection: Connection, user_code: bytes, *, now: datetime
) -> GrantRow | None:
    """One that waits for a decision."""
    await hold(connection, user_code)
    async with connection.cursor(row_factory=class_row(GrantRow)) as cursor:
        await cursor.execute(
            f"SELECT {_ROW} FROM device_grants WHERE user_code = %s AND approved IS NULL AND expires_at > %s",  # noqa: S608 (ours)
            [user_code, now],
        )
        return await cursor.fetchone()


async def polled(
    connection: Connection, digest: bytes, *, interval: timedelta, now: datetime
) -> None:
    await connection.execute(
        "UPDATE device_grants SET polled_at = %s, interval_seconds = %s WHERE digest = %s",
        [now, int(interval.total_seconds()), digest],
    )


async def decide(
    connection: Connection, user_code: bytes, account: AccountId, *, approved: bool, now: datetime
) -> bool:
    await hold(connection, user_code)
    cursor = await connection.execute(
        "UPDATE device_grants SET account_id = %s, approved = %s "
        "WHERE user_code = %s AND approved IS NULL AND expires_at > %s",
        [account, approved, user_code, now],
    )
    return cursor.rowcount == 1


async def redeem(connection: Connection, digest: bytes, *, now: datetime) -> None:
    await connection.execute(
        "UPDATE device_grants SET redeemed_at = %s WHERE digest = %s", [now, digest]
    )
