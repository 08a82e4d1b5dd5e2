"""Roles of accounts, and what a guard asks about a session."""

from datetime import datetime

from cloud_api.accounts.roles.rules import Standing
from cloud_api.accounts.tokens import Bearer
from cloud_api.db import AccountId, Connection
from cloud_api.questions import Asked, Question

GONE = Standing(
    is_live=False,
    has_factor=False,
    proved_at=None,
    factor_at=None,
    permissions=frozenset(),
    staff_permissions=frozenset(),
)
"""Of a session that is not there."""


def _standing(
    is_live: bool,
    has_factor: bool,
    proved_at: datetime | None,
    factor_at: datetime | None,
    permissions: list[str],
    staff_permissions: list[str],
) -> Standing:
    return Standing(
        is_live=is_live,
        has_factor=has_factor,
        proved_at=proved_at,
        factor_at=factor_at,
        permissions=frozenset(permissions),
        staff_permissions=frozenset(staff_permissions),
    )


_STANDING = Question(
    "standing",
    "WITH held AS (SELECT p.permission, r.is_staff FROM role_permissions AS p "
    "JOIN roles AS r ON r.name = p.role WHERE r.name = 'user' OR r.name IN "
    "(SELECT role FROM account_roles WHERE account_id = $1::uuid)) "
    "SELECT (s.ended_at IS NULL AND s.expires_at > $3::timestamptz) AS is_live, "
    "EXISTS (SELECT FROM totp_secrets WHERE account_id = $1 AND confirmed_at IS NOT NULL) "
    "OR EXISTS (SELECT FROM passkeys WHERE account_id = $1) AS has_factor, "
    "s.proved_at, s.factor_at, "
    "ARRAY (SELECT permission FROM held WHERE NOT is_staff) AS permissions, "
    "ARRAY (SELECT permission FROM held WHERE is_staff) AS staff_permissions "
    "FROM sessions AS s WHERE s.account_id = $1 AND s.id = $2::uuid",
    _standing,
)


def standing(bearer: Bearer, *, now: datetime) -> Asked[Standing]:
    """One question for everything a guard wants to know. Everybody has the role `user` without a row."""
    return _STANDING.of(bearer.account, bearer.session, now)


async def roles_of(connection: Connection, account: AccountId) -> list[str]:
    cursor = await connection.execute(
        "SELECT role FROM account_roles WHERE account_id = %s ORDER BY role", [account]
    )
    return [row[0] for row in await cursor.fetchall()]


async def names(connection: Connection) -> list[str]:
    cursor = await connection.execute("SELECT name FROM roles ORDER BY name")
    return [row[0] for row in await cursor.fetchall()]


async def grant(connection: Connection, account: AccountId, role: str, *, now: datetime) -> bool:
    cursor = await connection.execute(
        "INSERT INTO account_roles (account_id, role, granted_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [account, role, now],
    )
    return cursor.rowcount == 1


async def revoke(connection: Connection, account: AccountId, role: str) -> bool:
    cursor = await connection.execute(
        "DELETE FROM account_roles WHERE account_id = %s AND role = %s", [account, role]
    )
    return cursor.rowcount == 1
