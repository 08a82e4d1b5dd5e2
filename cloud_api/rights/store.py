"""Exports, deletions, receipts and consents in the database, and the reading and emptying of other parts' declared tables."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud_api.db import AccountId, Connection
from cloud_api.personal import PersonalTable
from cloud_api.questions import Asked, Question
from cloud_api.rights.rules import Receipt

ROWS_AT_ONCE = 1_000  # some hundred kilobytes in memory, whatever a table holds


class ExportRow(Struct, frozen=True):
    id: UUID
    state: str
    asked_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None
    bytes: int | None


class ExportName(Struct, frozen=True):
    account_id: UUID
    id: UUID


class Begun(Struct, frozen=True):
    former: bytes | None
    """Of a making that was broken off, or that is still under way."""


class DeletionRow(Struct, frozen=True):
    asked_at: datetime
    due_at: datetime


class ConsentRow(Struct, frozen=True):
    kind: str
    version: str
    given_at: datetime
    withdrawn_at: datetime | None


_EXPORT = "id, state, asked_at, ready_at, expires_at, bytes"


async def ask_export(connection: Connection, account: AccountId, now: datetime) -> UUID | None:
    """None if one is being made already."""
    cursor = await connection.execute(
        "INSERT INTO exports (account_id, asked_at) VALUES (%s, %s) "
        "ON CONFLICT (account_id) WHERE state = 'asked' DO NOTHING RETURNING id",
        [account, now],
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def exports(connection: Connection, account: AccountId, most: int) -> list[ExportRow]:
    async with connection.cursor(row_factory=class_row(ExportRow)) as cursor:
        await cursor.execute(
            f"SELECT {_EXPORT} FROM exports WHERE account_id = %s ORDER BY id DESC LIMIT %s",  # noqa: S608 (ours)
            [account, most],
        )
        return await cursor.fetchall()


async def exports_since(connection: Connection, account: AccountId, moment: datetime) -> int:
    return await _count(
        connection,
        "SELECT count(*) FROM exports WHERE account_id = %s AND asked_at > %s",
        [account, moment],
    )


async def begin_export(
    connection: Connection, account: AccountId, export_id: UUID, digest: bytes
) -> Begun | None:
    """From now on only who has this digest may hand it over. None if it does not wait any more."""
    async with connection.cursor(row_factory=class_row(Begun)) as cursor:
        await cursor.execute(
            "UPDATE exports SET digest = %s WHERE account_id = %s AND id = %s AND state = 'asked' "
            "RETURNING old.digest AS former",
            [digest, account, export_id],
        )
        return await cursor.fetchone()


async def export_is_ready(
    connection: Connection,
    account: AccountId,
    export_id: UUID,
    *,
    digest: bytes,
    size: int,
    now: datetime,
    expires_at: datetime,
) -> bool:
    """Whether it still waited, and nobody has begun it anew."""
    cursor = await connection.execute(
        "UPDATE exports SET state = 'ready', bytes = %s, ready_at = %s, expires_at = %s "
        "WHERE account_id = %s AND id = %s AND state = 'asked' AND digest = %s",
        [size, now, expires_at, account, export_id, digest],
    )
    return cursor.rowcount == 1


async def is_kept(connection: Connection, digest: bytes, now: datetime) -> bool:
    """Whether there is an export of this digest, whoever's, whose link works."""
    cursor = await connection.execute("SELECT FROM export_of_digest(%s, %s)", [digest, now])
    return cursor.rowcount == 1


async def export_digests(connection: Connection, account: AccountId) -> list[bytes]:
    """Of exports that have a file, or may have one."""
    cursor = await connection.execute(
        "SELECT digest FROM exports WHERE account_id = %s AND state <> 'expired' AND digest IS NOT NULL",
        [account],
    )
    return [digest for (digest,) in await cursor.fetchall()]


async def run_out(connection: Connection, now: datetime, most: int) -> list[ExportName]:
    async with connection.cursor(row_factory=class_row(ExportName)) as cursor:
        await cursor.execute("SELECT account_id, id FROM exports_run_out(%s, %s)", [now, most])
        return await cursor.fetchall()


async def expire_export(
    connection: Connection, account: AccountId, export_id: UUID
) -> bytes | None:
    """Its digest; None if it was not ready any more."""
    cursor = await connection.execute(
        "UPDATE exports SET state = 'expired' WHERE account_id = %s AND id = %s AND state = 'ready' "
        "RETURNING digest",
        [account, export_id],
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def ask_deletion(
    connection: Connection, account: AccountId, *, digest: bytes, now: datetime, due_at: datetime
) -> bool:
    """Whether nobody had asked before."""
    cursor = await connection.execute(
        "INSERT INTO deletions (account_id, digest, asked_at, due_at) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (account_id) DO NOTHING",
        [account, digest, now, due_at],
    )
    return cursor.rowcount == 1


async def deletion(connection: Connection, account: AccountId) -> DeletionRow | None:
    async with connection.cursor(row_factory=class_row(DeletionRow)) as cursor:
        await cursor.execute(
            "SELECT asked_at, due_at FROM deletions WHERE account_id = %s", [account]
        )
        return await cursor.fetchone()


async def lock_deletion(connection: Connection, account: AccountId) -> DeletionRow | None:
    async with connection.cursor(row_factory=class_row(DeletionRow)) as cursor:
        await cursor.execute(
            "SELECT asked_at, due_at FROM deletions WHERE account_id = %s FOR UPDATE", [account]
        )
        return await cursor.fetchone()


async def drop_deletion(connection: Connection, account: AccountId) -> bool:
    cursor = await connection.execute("DELETE FROM deletions WHERE account_id = %s", [account])
    return cursor.rowcount == 1


async def account_of_deletion(connection: Connection, digest: bytes) -> AccountId | None:
    cursor = await connection.execute("SELECT account_of_deletion(%s)", [digest])
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def due(connection: Connection, now: datetime, most: int) -> list[AccountId]:
    cursor = await connection.execute("SELECT deletions_due(%s, %s)", [now, most])
    return [AccountId(account) for (account,) in await cursor.fetchall()]


async def add_receipt(connection: Connection, digest: bytes, receipt: Receipt) -> None:
    await connection.execute(
        "INSERT INTO deletion_receipts (digest, deleted_on, deleted, kept) VALUES (%s, %s, %s, %s)",
        [
            digest,
            receipt.deleted_on,
            Jsonb(receipt.deleted),
            Jsonb(msgspec.to_builtins(receipt.kept)),
        ],
    )


async def receipt_of(connection: Connection, digest: bytes) -> Receipt | None:
    cursor = await connection.execute(
        "SELECT deleted_on, deleted, kept FROM receipt_of_digest(%s)", [digest]
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    deleted_on, deleted, kept = row
    return msgspec.convert({"deleted_on": deleted_on, "deleted": deleted, "kept": kept}, Receipt)


_CONSENTS = Question(
    "consents",
    "SELECT kind, version, given_at, withdrawn_at FROM consents "
    "WHERE account_id = $1::uuid ORDER BY id DESC LIMIT $2::int",
    ConsentRow,
)


def consents(account: AccountId, most: int) -> Asked[ConsentRow]:
    return _CONSENTS.of(account, most)


async def withdraw(
    connection: Connection, account: AccountId, kind: str, now: datetime, *, but: str | None = None
) -> bool:
    """Whether one was given and is not any more. With `but`, one of that version stays."""
    cursor = await connection.execute(
        "UPDATE consents SET withdrawn_at = %s WHERE account_id = %s AND kind = %s "
        "AND withdrawn_at IS NULL AND version IS DISTINCT FROM %s",
        [now, account, kind, but],
    )
    return cursor.rowcount == 1


async def give(
    connection: Connection, account: AccountId, kind: str, version: str, now: datetime
) -> bool:
    """Whether it was not given yet."""
    cursor = await connection.execute(
        "INSERT INTO consents (account_id, kind, version, given_at) VALUES (%s, %s, %s, %s) "
        "ON CONFLICT (account_id, kind) WHERE withdrawn_at IS NULL DO NOTHING",
        [account, kind, version, now],
    )
    return cursor.rowcount == 1


async def rows(
    connection: Connection, table: PersonalTable, account: AccountId
) -> AsyncIterator[list[tuple[Any, ...]]]:
    """What an export shows of a table, a part at a time."""
    query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(sql.Identifier(column) for column in table.shown),
        sql.Identifier(table.name),
        _whose(table),
    )
    async with connection.cursor(name="rows") as cursor:
        await cursor.execute(query, {"account": account})
        while part := await cursor.fetchmany(ROWS_AT_ONCE):
            yield part


async def count_rows(connection: Connection, table: PersonalTable, account: AccountId) -> int:
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(
        sql.Identifier(table.name), _whose(table)
    )
    return await _count(connection, query, {"account": account})


async def blobs(connection: Connection, table: PersonalTable, account: AccountId) -> list[str]:
    """The names of files that the account's rows of a table have in the store for files."""
    assert table.blob is not None
    query = sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.Identifier(table.blob), sql.Identifier(table.name), _whose(table)
    )
    cursor = await connection.execute(query, {"account": account})
    return [name for (name,) in await cursor.fetchall()]


async def delete_rows(connection: Connection, table: PersonalTable, account: AccountId) -> None:
    query = sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(table.name), _whose(table))
    await connection.execute(query, {"account": account})


def _whose(table: PersonalTable) -> sql.SQL:
    return sql.SQL(table.whose)  # a declaration of ours, no input


async def _count(connection: Connection, query: Any, values: Any) -> int:
    cursor = await connection.execute(query, values)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
