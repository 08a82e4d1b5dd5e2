"""Somebody wants their account gone, and perhaps thinks better of it."""

import re
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from httpx import AsyncClient

from cloud_api.audit import actions as audit
from cloud_api.audit import store as audit_store
from cloud_api.db import AccountId
from cloud_api.deps import Deps
from cloud_api.rights import deletions
from cloud_api.rights.deletions import Due
from tests.cloud_api.accounts.people import NOON, Hands, Mailbox, Person, code_of, drain

pytestmark = pytest.mark.anyio

ADA = "ada@example.org"
_KEEP = re.compile(r"/api/v1(/deletions/[\w-]+)")
_RECEIPT = re.compile(r"/api/v1(/deletion-receipts/[\w-]+)")


async def link(mailbox: Mailbox, pattern: re.Pattern[str]) -> str:
    found: list[list[str]] = [pattern.findall(each.text) for each in await mailbox.to(ADA)]
    return [links[0] for links in found if links][-1]


async def id_of(person: Person) -> AccountId:
    return AccountId(UUID((await person.get("/account")).json()["id"]))


async def day_comes(deps: Deps, clock: Hands) -> None:
    clock.forward(days=14)
    await deletions.enqueue_due(deps.injected["rights"], 10)
    await drain(deps)


async def tables_with(database_url: str, account: AccountId) -> set[str]:
    """Tables in which the account's id still stands, whoever may see it; but for jobs that are done, which the worker deletes."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("SET ROLE sunaiva_owner")
        cursor = await connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        names = [name for (name,) in await cursor.fetchall()]
        found = set()
        for name in names:
            await connection.execute(f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY")
            cursor = await connection.execute(
                f"SELECT FROM {name} t WHERE t::text LIKE %s AND t::text NOT LIKE '%%succeeded%%' LIMIT 1",
                [f"%{account}%"],
            )
            if cursor.rowcount:
                found.add(name)
    return found


async def test_asking_sets_a_day_two_weeks_off_and_ends_every_session(
    ada: Person, mailbox: Mailbox
) -> None:
    answer = await ada.post("/account/deletion")
    assert answer.status_code == 202
    due_at = (NOON + timedelta(days=14)).isoformat().replace("+00:00", "Z")
    assert answer.json() == {"asked_at": NOON.isoformat().replace("+00:00", "Z"), "due_at": due_at}
    assert (await mailbox.subjects(ADA))[-1] == "Your account will be deleted"
    assert (await ada.refresh()).status_code == 401


async def test_signing_in_keeps_the_account(
    ada: Person, mailbox: Mailbox, deps: Deps, clock: Hands
) -> None:
    await ada.post("/account/deletion")
    clock.forward(days=13)
    assert (await ada.log_in()).status_code == 200
    assert (await mailbox.subjects(ADA))[-1] == "Your account stays"
    assert code_of(await ada.get("/account/deletion")) == "deletion_not_asked"
    await day_comes(deps, clock)
    assert (await ada.log_in()).status_code == 200


async def test_who_has_signed_in_keeps_the_account_however_far_behind_the_worker_is(
    ada: Person, mailbox: Mailbox, deps: Deps, clock: Hands
) -> None:
    account = await id_of(ada)
    await ada.post("/account/deletion")
    await drain(deps)
    clock.forward(days=15)
    assert (await ada.log_in()).status_code == 200
    # The worker takes this before it hears of the log-in.
    await deletions.carry_out(deps.injected["rights"], Due(account))
    assert (await ada.get("/account")).status_code == 200
    assert (await mailbox.subjects(ADA))[-1] == "Your account stays"
    assert (await mailbox.subjects(ADA)).count("Your account stays") == 1


async def test_a_sign_in_from_before_does_not_keep_the_account(
    ada: Person, deps: Deps, clock: Hands
) -> None:
    account = await id_of(ada)
    clock.forward(minutes=1)
    await ada.post("/account/deletion")
    await drain(deps)  # only now is the log-in of before told
    await deletions.standing(deps.injected["rights"], account)


async def test_the_link_in_the_mail_keeps_the_account_by_a_button_only(
    client: AsyncClient, ada: Person, mailbox: Mailbox, deps: Deps
) -> None:
    account = await id_of(ada)
    await ada.post("/account/deletion")
    path = await link(mailbox, _KEEP)
    stranger = Person(client, "nobody")
    page = await stranger.get(path)
    assert "Keep my account" in page.text
    await deletions.standing(deps.injected["rights"], account)
    assert (await stranger.post(path)).status_code == 200
    assert (await mailbox.subjects(ADA))[-1] == "Your account stays"
    assert code_of(await stranger.post(path)) == "deletion_not_asked"


async def test_when_the_day_has_come_nothing_says_whose_it_was(
    ada: Person, bob: Person, mailbox: Mailbox, deps: Deps, clock: Hands, database_url: str
) -> None:
    account = await id_of(ada)
    await ada.post("/account/exports")
    await drain(deps)
    await ada.post("/account/deletion")
    await day_comes(deps, clock)
    assert (await mailbox.subjects(ADA))[-1] == "Your account is deleted"
    # Told to other parts, and forgotten by retention; it leads to no row any more.
    assert await tables_with(database_url, account) <= {"events"}
    assert not [each for each in (deps.settings.home / "blobs").rglob("*") if each.is_file()]
    assert (await ada.log_in()).status_code == 401
    assert (await bob.log_in()).status_code == 200


async def test_the_receipt_says_what_is_gone_and_what_is_kept(
    client: AsyncClient, ada: Person, mailbox: Mailbox, deps: Deps, clock: Hands
) -> None:
    await ada.post("/account/deletion")
    await day_comes(deps, clock)
    mail = (await mailbox.to(ADA))[-1]
    assert "the log of security events" in mail.text
    receipt = (await Person(client, "nobody").get(await link(mailbox, _RECEIPT))).json()
    assert receipt["deleted_on"] == "2026-12-05"
    assert receipt["deleted"]["accounts"] == 1
    assert receipt["deleted"]["sessions"] == 1
    assert {each["table"]: each["why"] for each in receipt["kept"]} == {
        "audit_entries": "audit",
        "deletion_receipts": "receipt",
    }
    assert (
        code_of(await Person(client, "x").get("/deletion-receipts/" + "A" * 43))
        == "receipt_not_found"
    )


async def test_the_audit_log_still_verifies_after_a_deletion(
    ada: Person, deps: Deps, clock: Hands
) -> None:
    async with deps.db.transaction() as connection:
        await audit_store.seal(connection, 1_000)
    before = await audit.verify(deps.db)
    await ada.post("/account/deletion")
    await day_comes(deps, clock)
    async with deps.db.transaction() as connection:
        await audit_store.seal(connection, 1_000)
    after = await audit.verify(deps.db, known=before.head)
    assert after.sealed > before.sealed > 0


async def test_carrying_out_twice_or_too_early_does_nothing(
    ada: Person, deps: Deps, clock: Hands, mailbox: Mailbox
) -> None:
    account = await id_of(ada)
    rights = deps.injected["rights"]
    await ada.post("/account/deletion")
    await deletions.carry_out(rights, Due(account))
    await deletions.standing(rights, account)
    clock.forward(days=14)
    for _ in range(2):
        await deletions.carry_out(rights, Due(account))
    assert (await mailbox.subjects(ADA)).count("Your account is deleted") == 1


async def test_asking_again_does_not_move_the_day(ada: Person, deps: Deps, clock: Hands) -> None:
    rights, account = deps.injected["rights"], await id_of(ada)
    first = await deletions.ask(rights, account)
    clock.forward(minutes=1)
    assert await deletions.ask(rights, account) == first


async def test_whoever_wants_to_delete_proves_to_be_there(ada: Person, clock: Hands) -> None:
    clock.forward(minutes=14)
    assert code_of(await ada.post("/account/deletion")) == "step_up_needed"
