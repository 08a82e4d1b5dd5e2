"""Sessions and their refresh tokens."""

from datetime import datetime

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.accounts.sessions.rules import EndedWhy
from cloud_api.accounts.tokens import SessionId
from cloud_api.db import AccountId, Connection
from cloud_api.questions import Asked, Question

# A person with more sessions than this has a script that logs in instead of refreshing; the list shows the newest.
LISTED_MAX = 200


class NewSession(Struct, frozen=True, kw_only=True):
    account: AccountId
    device: str | None
    network: str
    now: datetime
    expires_at: datetime
    proved_at: datetime | None
    factor_at: datetime | None


class SessionRow(Struct, frozen=True):
    id: SessionId
    device: str | None
    network: str
    started_at: datetime
    used_at: datetime
    expires_at: datetime


class PresentedRow(Struct, frozen=True):
    """A refresh token with the session it belongs to, and whether its successor was used."""

    account_id: AccountId
    session_id: SessionId
    issued_at: datetime
    used_at: datetime | None
    successor_sealed: bytes | None
    successor_used: bool
    started_at: datetime
    ended_at: datetime | None


async def open_session(connection: Connection, session: NewSession) -> SessionId:
    cursor = await connection.execute(
        "INSERT INTO sessions (account_id, device, network, started_at, used_at, expires_at, proved_at, factor_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        [
            session.account,
            session.device,
            session.network,
            session.now,
            session.now,
            session.expires_at,
            session.proved_at,
            session.factor_at,
        ],
    )
    row = await cursor.fetchone()
    assert row is not None
    return SessionId(row[0])


async def add_refresh_token(
    connection: Connection,
    digest: bytes,
    *,
    account: AccountId,
    session: SessionId,
    now: datetime,
    expires_at: datetime,
) -> None:
    await connection.execute(
        "INSERT INTO refresh_tokens (digest, account_id, session_id, issued_at, expires_at) VALUES (%s, %s, %s, %s, %s)",
        [digest, account, session, now, expires_at],
    )


async def account_of_refresh_token(connection: Connection, digest: bytes) -> AccountId | None:
    cursor = await connection.execute("SELECT account_of_refresh_token(%s)", [digest])
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def lock_presented(connection: Connection, digest: bytes) -> PresentedRow | None:
    """The token and its session. Whoever else refreshes or ends this session waits until this transaction has ended."""
    await connection.execute(
        "SELECT 1 FROM sessions AS s JOIN refresh_tokens AS t ON (s.account_id, s.id) = (t.account_id, t.session_id) "
        "WHERE t.digest = %s FOR UPDATE OF s",
        [digest],
    )
    # A second statement, because the first one's snapshot is older than the lock it waited for.
    async with connection.cursor(row_factory=class_row(PresentedRow)) as cursor:
        await cursor.execute(
            "SELECT t.account_id, t.session_id, t.issued_at, t.used_at, t.successor_sealed, "
            "coalesce(n.used_at IS NOT NULL, false) AS successor_used, s.started_at, s.ended_at "
            "FROM refresh_tokens AS t JOIN sessions AS s ON (s.account_id, s.id) = (t.account_id, t.session_id) "
            "LEFT JOIN refresh_tokens AS n ON n.digest = t.successor_digest WHERE t.digest = %s",
            [digest],
        )
        return await cursor.fetchone()


async def spend(
    connection: Connection, digest: bytes, *, successor: bytes, sealed: bytes, now: datetime
) -> None:
    await connection.execute(
        "UPDATE refresh_tokens SET used_at = %s, successor_digest = %s, successor_sealed = %s WHERE digest = %s",
        [now, successor, sealed, digest],
    )
    # The one before it is beyond repeating now, and what nobody may ask for any more is not kept.
    await connection.execute(
        "UPDATE refresh_tokens SET successor_sealed = NULL WHERE (account_id, session_id) = "
        "(SELECT account_id, session_id FROM refresh_tokens WHERE digest = %(used)s) "
        "AND digest <> %(used)s AND successor_sealed IS NOT NULL",
        {"used": digest},
    )


async def touch(
    connection: Connection,
    account: AccountId,
    session: SessionId,
    *,
    network: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    await connection.execute(
        "UPDATE sessions SET used_at = %s, network = %s, expires_at = %s WHERE account_id = %s AND id = %s",
        [now, network, expires_at, account, session],
    )


_LIVE = Question(
    "live_sessions",
    "SELECT id, device, network, started_at, used_at, expires_at FROM sessions "
    "WHERE account_id = $1::uuid AND ended_at IS NULL AND expires_at > $2::timestamptz ORDER BY id DESC LIMIT $3::int",
    SessionRow,
)


def live(account: AccountId, *, now: datetime) -> Asked[SessionRow]:
    return _LIVE.of(account, now, LISTED_MAX)


async def end(
    connection: Connection, account: AccountId, session: SessionId, *, why: EndedWhy, now: datetime
) -> bool:
    """Whether there was a live session to end."""
    cursor = await connection.execute(
        "UPDATE sessions SET ended_at = %s, ended_why = %s WHERE account_id = %s AND id = %s AND ended_at IS NULL",
        [now, why, account, session],
    )
    return cursor.rowcount > 0


async def end_all(
    connection: Connection,
    account: AccountId,
    *,
    but: SessionId | None,
    why: EndedWhy,
    now: datetime,
) -> int:
    """Also of devices that were approved and have not come for theirs yet."""
    # Nobody approves another one meanwhile, and who comes for a session now either has it below, or gets none.
    await connection.execute("SELECT FROM accounts WHERE id = %s FOR NO KEY UPDATE", [account])
    await connection.execute(
        "DELETE FROM device_grants WHERE account_id = %s AND approved AND redeemed_at IS NULL",
        [account],
    )
    cursor = await connection.execute(
        "UPDATE sessions SET ended_at = %s, ended_why = %s "
        "WHERE account_id = %s AND ended_at IS NULL AND id IS DISTINCT FROM %s",
        [now, why, account, but],
    )
    return cursor.rowcount


async def is_live(
    connection: Connection, account: AccountId, session: SessionId, *, now: datetime
) -> bool:
    cursor = await connection.execute(
        "SELECT FROM sessions WHERE account_id = %s AND id = %s AND ended_at IS NULL AND expires_at > %s",
        [account, session, now],
    )
    return cursor.rowcount == 1


async def was_at(
    connection: Connection, account: AccountId | None, *, network: str, since: datetime
) -> bool:
    """Whether the account had a session from this network since then."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM sessions WHERE account_id = %s AND network = %s AND used_at >= %s)",
        [account, network, since],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def opened_since(connection: Connection, account: AccountId, moment: datetime) -> bool:
    """A session that still lives counts however old it is."""
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM sessions WHERE account_id = %s AND (started_at > %s OR ended_at IS NULL))",
        [account, moment],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def had_any(connection: Connection, account: AccountId) -> bool:
    cursor = await connection.execute(
        "SELECT EXISTS (SELECT FROM sessions WHERE account_id = %s)", [account]
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def proved(
    connection: Connection,
    account: AccountId,
    session: SessionId,
    *,
    with_factor: bool,
    now: datetime,
) -> None:
    await connection.execute(
        "UPDATE sessions SET proved_at = %(now)s, factor_at = CASE WHEN %(factor)s THEN %(now)s ELSE factor_at END "
        "WHERE account_id = %(account)s AND id = %(session)s AND ended_at IS NULL",
        {"now": now, "factor": with_factor, "account": account, "session": session},
    )
