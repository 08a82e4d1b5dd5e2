"""The log in the real database: it can be added to, and whatever else is done to it is found."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from cloud_api.audit.actions import (
    AuditDisagreesError,
    HeadInvalidError,
    note,
    own_entries,
    parse_head,
    verify,
)
from cloud_api.audit.jobs import audit_jobs
from cloud_api.audit.rules import FIRST, Entry, Head
from cloud_api.db import AccountId, Database
from cloud_api.jobs import Tick

pytestmark = pytest.mark.anyio

ANN = AccountId(UUID("01990000-0000-7000-8000-00000000000a"))
BEN = AccountId(UUID("01990000-0000-7000-8000-00000000000b"))


def entry(action: str = "session.opened", account: AccountId | None = ANN, **more: object) -> Entry:
    given = {"actor": "person", "address": "192.0.2.77", "detail": {"device": "Firefox"}} | more
    return Entry(action=action, account=account, **given)  # type: ignore[arg-type] # fields by name


async def noted(db: Database, *entries: Entry) -> None:
    for each in entries:
        async with db.transaction() as connection:
            await note(connection, each)


async def seal(db: Database) -> None:
    (job,) = audit_jobs(db)
    await job.run(Tick(datetime.now(UTC)))


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Somebody who has the database's highest role of ours, and wants to change history."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("SET ROLE sunaiva_owner")
        yield connection


async def without_triggers(owner: psycopg.AsyncConnection, statement: str) -> None:
    """What an owner can do after taking away what is in the way."""
    tables = ("audit_entries", "audit_seals")
    for table in tables:
        await owner.execute(
            f"ALTER TABLE {table} DISABLE TRIGGER only_added, NO FORCE ROW LEVEL SECURITY"
        )
    assert (await owner.execute(statement)).rowcount > 0
    for table in tables:
        await owner.execute(
            f"ALTER TABLE {table} ENABLE TRIGGER only_added, FORCE ROW LEVEL SECURITY"
        )


async def test_a_person_reads_what_concerned_them_newest_first(db: Database) -> None:
    await noted(db, entry(), entry(account=BEN), entry("password.changed"))
    own = await own_entries(db, ANN, before=None, most=10)
    assert [each.entry.action for each in own] == ["password.changed", "session.opened"]
    assert own[1].detail == {"device": "Firefox"}
    assert own[1].entry.network == "192.0.2.0/24"
    page = await own_entries(db, ANN, before=own[0].entry.id, most=10)
    assert page == own[1:]


async def test_a_page_of_a_long_log_is_read_from_its_index(db: Database) -> None:
    await noted(db, entry())
    async with db.transaction() as connection:
        await connection.execute(
            "INSERT INTO audit_entries (subject, actor, action, detail) SELECT audit_subject_of(a), 'person', 'a.b', '{}' "
            "FROM (SELECT gen_random_uuid() AS a FROM generate_series(1, 200)), generate_series(1, 50)"
        )
    async with db.transaction(ANN) as connection:
        cursor = await connection.execute(
            "EXPLAIN SELECT id FROM audit_entries WHERE subject = "
            "(SELECT subject FROM audit_subjects WHERE account_id = current_account()) ORDER BY id DESC LIMIT 50"
        )
        plan = "\n".join(line for (line,) in await cursor.fetchall())
    assert "audit_entries_of_subject" in plan
    assert "Seq Scan on audit_entries" not in plan


async def test_nothing_is_noted_of_what_did_not_happen(db: Database) -> None:
    async def failing() -> None:
        async with db.transaction(ANN) as connection:
            await note(connection, entry())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await own_entries(db, ANN, before=None, most=10) == []


async def test_a_person_sees_that_staff_did_something_but_not_who(db: Database) -> None:
    await noted(db, entry("sessions.ended", actor="staff", staff=BEN))
    (own,) = await own_entries(db, ANN, before=None, most=10)
    assert own.entry.actor == "staff"
    assert await own_entries(db, BEN, before=None, most=10) == []


async def test_what_concerns_nobody_is_seen_by_nobody(db: Database) -> None:
    await noted(db, entry("key.rotated", account=None, actor="system", address=None))
    for account in (None, ANN):
        assert await own_entries(db, account, before=None, most=10) == []


async def test_a_mail_address_cannot_be_noted(db: Database) -> None:
    async with db.transaction() as connection:
        with pytest.raises(AssertionError):
            await note(connection, entry(detail={"mail": "ann@example.org"}))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET action = 'a.b'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries CASCADE",
        "DELETE FROM audit_seals",
        "INSERT INTO audit_seals SELECT 9, id, decode(repeat('00', 32), 'hex') FROM audit_entries",
        "DELETE FROM audit_unsealed",
        "UPDATE audit_subjects SET subject = gen_random_uuid()",
        "INSERT INTO audit_entries (actor, action, detail, noted_at) VALUES ('system', 'a.b', '{}', 'yesterday')",
    ],
)
async def test_the_application_cannot_change_history(db: Database, statement: str) -> None:
    await noted(db, entry())
    async with db.transaction(ANN) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM audit_entries", "UPDATE audit_seals SET position = 9"]
)
async def test_not_even_the_owner_changes_history_by_mistake(
    db: Database, owner: psycopg.AsyncConnection, statement: str
) -> None:
    await noted(db, entry())
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        await owner.execute(statement)


async def test_a_log_that_nobody_touched_verifies_and_only_grows(db: Database) -> None:
    await noted(
        db,
        entry(detail={"Gerät": "Füchsin 狐", "n": 1, "yes": True, "none": None}),
        entry("key.rotated", account=None, actor="system", address=None, detail={}),
        entry("sessions.ended", actor="staff", staff=BEN),
    )
    await seal(db)
    first = await verify(db)
    await noted(db, entry("password.changed"))
    unsealed = await verify(db)
    await seal(db)
    second = await verify(db, known=first.head)
    assert (first.sealed, unsealed, second.sealed) == (3, first, 4)


async def test_an_empty_log_verifies(db: Database) -> None:
    await seal(db)
    assert (await verify(db)).head == Head(0, FIRST)


async def test_a_long_log_is_sealed_and_verified_in_pages(db: Database) -> None:
    async with db.transaction() as connection:
        await connection.execute(
            "INSERT INTO audit_entries (actor, action, detail) "
            "SELECT 'system', 'test.made', '{}' FROM generate_series(1, 2500)"
        )
    await seal(db)
    assert (await verify(db)).sealed == 2_500


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE audit_entries SET action = 'session.closed' WHERE action = 'password.changed'", "not what was sealed"),
        ("UPDATE audit_entries SET noted_at = noted_at + interval '1 microsecond'", "not what was sealed"),
        ("UPDATE audit_entries SET subject = gen_random_uuid() WHERE action = 'password.changed'", "not what was sealed"),
        ("DELETE FROM audit_seals WHERE position = 2", "Seal 2 is missing"),
        ("DELETE FROM audit_seals WHERE position = 3", "taken out of the chain"),
    ],
    ids=["action", "time", "subject", "seal", "last-seal"],
)  # fmt: skip
async def test_the_first_entry_that_was_changed_is_named(
    db: Database, owner: psycopg.AsyncConnection, statement: str, says: str
) -> None:
    await noted(db, entry(), entry("password.changed"), entry("session.closed"))
    await seal(db)
    await without_triggers(owner, statement)
    with pytest.raises(AuditDisagreesError, match=says):
        await verify(db)


async def test_a_log_cut_off_at_its_end_is_found_by_a_head_noted_before(
    db: Database, owner: psycopg.AsyncConnection
) -> None:
    await noted(db, entry(), entry("password.changed"))
    await seal(db)
    known = (await verify(db)).head
    await without_triggers(owner, "DELETE FROM audit_seals WHERE position = 2")
    await without_triggers(owner, "DELETE FROM audit_entries WHERE action = 'password.changed'")
    await verify(db)  # alone, the chain cannot know that it was longer
    with pytest.raises(AuditDisagreesError, match="no longer holds"):
        await verify(db, known=known)


async def test_entries_of_a_deleted_account_stay_sealed_and_are_nobodys(db: Database) -> None:
    await noted(db, entry())
    await seal(db)
    async with db.transaction(ANN) as connection:
        await connection.execute("DELETE FROM audit_subjects WHERE account_id = %s", [ANN])
    await noted(db, entry("session.opened"))
    assert len(await own_entries(db, ANN, before=None, most=10)) == 1
    assert (await verify(db)).sealed == 1


def test_a_head_is_read_as_it_was_printed() -> None:
    head = Head(7, bytes(range(32)))
    assert parse_head(str(head)) == head


@pytest.mark.parametrize(
    "text", ["", "7", "7:", "x:" + "00" * 32, "7:zz", "7:00", f"{'7' * 5000}:" + "00" * 32]
)
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(HeadInvalidError):
        parse_head(text)
