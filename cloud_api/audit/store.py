"""The audit log in the database. It is added to and read, and nothing here could do more."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from cloud_api.audit.rules import Actor, SealedEntry
from cloud_api.db import AccountId, Connection
from cloud_api.questions import Asked, Question


class OwnEntry(Struct, frozen=True):
    """An entry as the person it concerns sees it. Who of the staff did it is not theirs to know; that it was staff is."""

    id: UUID
    noted_at: datetime
    action: str
    actor: str
    network: str | None
    detail: str


async def add(
    connection: Connection,
    *,
    account: AccountId | None,
    actor: Actor,
    staff: AccountId | None,
    action: str,
    network: str | None,
    detail: str,
) -> None:
    await connection.execute(
        "INSERT INTO audit_entries (subject, actor, staff, action, network, detail) "
        "VALUES (audit_subject_of(%s), %s, audit_subject_of(%s), %s, %s, %s)",
        [account, actor, staff, action, network, detail],
    )


_OWN = Question(
    "own_audit_entries",
    "SELECT id, noted_at, action, actor, network, detail FROM audit_entries "
    "WHERE subject = (SELECT subject FROM audit_subjects WHERE account_id = current_account()) "
    "AND ($1::uuid IS NULL OR id < $1) ORDER BY id DESC LIMIT $2::int",
    OwnEntry,
)


def own(*, before: UUID | None, most: int) -> Asked[OwnEntry]:
    """The newest entries of the account that asks."""
    return _OWN.of(before, most)


async def seal(connection: Connection, most: int) -> int:
    cursor = await connection.execute("SELECT audit_seal(%s)", [most])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def chain(connection: Connection, *, after: int, most: int) -> list[SealedEntry]:
    async with connection.cursor(row_factory=class_row(SealedEntry)) as cursor:
        await cursor.execute(
            "SELECT place, entry_id, seal, is_there, subject, actor, staff, action, network, detail, noted_at "
            "FROM audit_chain(%s, %s)",
            [after, most],
        )
        return await cursor.fetchall()


async def accounted(connection: Connection, *, after: UUID, most: int) -> list[tuple[UUID, bool]]:
    """Entries in the order of their ids, and whether each is sealed or waits for its seal."""
    cursor = await connection.execute(
        "SELECT id, is_accounted FROM audit_unaccounted(%s, %s)", [after, most]
    )
    return [(entry_id, is_accounted) for entry_id, is_accounted in await cursor.fetchall()]
