"""Mails and preferences in the database. A mail's text and address are there sealed, and only while it waits."""

from datetime import datetime
from typing import Literal

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.db import AccountId, Connection
from cloud_api.notifications.letters import MailId

Outcome = Literal["sent", "refused", "unwanted", "expired"]


class WaitingMail(Struct, frozen=True):
    kind: str
    language: str
    sealed: bytes
    created_at: datetime


class Preference(Struct, frozen=True):
    kind: str
    is_wanted: bool


async def new_id(connection: Connection) -> MailId:
    cursor = await connection.execute("SELECT uuidv7()")
    row = await cursor.fetchone()
    assert row is not None
    return MailId(row[0])


async def add(
    connection: Connection,
    mail_id: MailId,
    *,
    account: AccountId | None,
    kind: str,
    language: str,
    once: str | None,
    sealed: bytes,
) -> bool:
    """Whether it is there now and was not before."""
    cursor = await connection.execute(
        "INSERT INTO mails (id, account_id, kind, language, once, sealed) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [mail_id, account, kind, language, once, sealed],
    )
    return cursor.rowcount == 1


async def waiting(connection: Connection, mail_id: MailId) -> WaitingMail | None:
    async with connection.cursor(row_factory=class_row(WaitingMail)) as cursor:
        await cursor.execute(
            "SELECT kind, language, sealed, created_at FROM mails WHERE id = %s AND state = 'waiting'",
            [mail_id],
        )
        return await cursor.fetchone()


async def finish(connection: Connection, mail_id: MailId, outcome: Outcome) -> None:
    await connection.execute(
        "UPDATE mails SET state = %s, sealed = NULL, finished_at = now() WHERE id = %s AND state = 'waiting'",
        [outcome, mail_id],
    )


async def preferences(connection: Connection, account: AccountId) -> list[Preference]:
    async with connection.cursor(row_factory=class_row(Preference)) as cursor:
        await cursor.execute(
            "SELECT kind, is_wanted FROM mail_preferences WHERE account_id = %s ORDER BY kind",
            [account],
        )
        return await cursor.fetchall()


async def prefer(connection: Connection, account: AccountId, preference: Preference) -> bool:
    """Whether that is new."""
    cursor = await connection.execute(
        "INSERT INTO mail_preferences (account_id, kind, is_wanted) VALUES (%s, %s, %s) "
        "ON CONFLICT (account_id, kind) DO UPDATE SET is_wanted = excluded.is_wanted, changed_at = now() "
        "WHERE mail_preferences.is_wanted <> excluded.is_wanted",
        [account, preference.kind, preference.is_wanted],
    )
    return cursor.rowcount == 1


async def expire(connection: Connection, *, older_than: datetime, most: int) -> int:
    cursor = await connection.execute("SELECT expire_mails(%s, %s)", [older_than, most])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def forget(connection: Connection, *, older_than: datetime, most: int) -> int:
    cursor = await connection.execute("SELECT forget_mails(%s, %s)", [older_than, most])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
