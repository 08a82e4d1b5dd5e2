"""What one person is given to come back with, once: a link to reset a password, a challenge for a second factor.

SQL only, shared by the parts of accounts that give such tokens. A token that was taken is gone.
"""

from datetime import datetime, timedelta
from typing import Literal

from cloud_api.accounts.possession import act_as
from cloud_api.accounts.tokens import Opaque
from cloud_api.db import AccountId, Connection
from shared.errors import ForbiddenError

Purpose = Literal["reset", "mail_change", "second_factor", "passkey", "factors_lost"]


class LinkOverError(ForbiddenError):
    code = "link_over"

    def __init__(self) -> None:
        super().__init__("This link has run out or was used already. Ask for a new one.")


async def give(
    connection: Connection,
    token: Opaque,
    purpose: Purpose,
    account: AccountId,
    *,
    detail: bytes | None = None,
    now: datetime,
    life: timedelta,
) -> None:
    await connection.execute(
        "INSERT INTO account_tokens (digest, account_id, purpose, detail, created_at, expires_at) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        [token.digest, account, purpose, detail, now, now + life],
    )


async def owner(connection: Connection, digest: bytes | None, purpose: Purpose) -> AccountId | None:
    """Whose it is; from then on the transaction sees that account."""
    cursor = await connection.execute("SELECT account_of_token(%s, %s)", [digest, purpose])
    row = await cursor.fetchone()
    account: AccountId | None = row[0] if row else None
    await act_as(connection, account)
    return account


async def detail_of(
    connection: Connection, digest: bytes, purpose: Purpose, *, now: datetime
) -> bytes | None:
    """What it was given with, without taking it. None: there is none that is good now."""
    cursor = await connection.execute(
        "SELECT coalesce(detail, ''::bytea) FROM account_tokens WHERE digest = %s AND purpose = %s AND expires_at > %s",
        [digest, purpose, now],
    )
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])


async def take(
    connection: Connection, digest: bytes, purpose: Purpose, *, now: datetime
) -> bytes | None:
    """Like `detail_of`, and of two who come with the same token one gets it."""
    cursor = await connection.execute(
        "DELETE FROM account_tokens WHERE digest = %s AND purpose = %s AND expires_at > %s "
        "RETURNING coalesce(detail, ''::bytea)",
        [digest, purpose, now],
    )
    row = await cursor.fetchone()
    return None if row is None else bytes(row[0])


async def given_at(
    connection: Connection, account: AccountId, purpose: Purpose, *, now: datetime
) -> datetime | None:
    """When the one that is good now was given; None where there is none."""
    cursor = await connection.execute(
        "SELECT max(created_at) FROM account_tokens WHERE account_id = %s AND purpose = %s AND expires_at > %s",
        [account, purpose, now],
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def take_all(connection: Connection, account: AccountId, *purposes: Purpose) -> None:
    await connection.execute(
        "DELETE FROM account_tokens WHERE account_id = %s AND purpose = ANY(%s)",
        [account, list(purposes)],
    )
