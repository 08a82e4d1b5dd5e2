"""Somebody tries to reach another person's things."""

from uuid import UUID

import psycopg
import pytest

from cloud_api.db import AccountId
from cloud_api.deps import Deps
from cloud_api.rights import deletions
from cloud_api.rights.registry import PERSONAL
from tests.cloud_api.accounts.people import Mailbox, Person

pytestmark = pytest.mark.anyio


async def test_no_declared_table_shows_a_row_of_another_account(
    ada: Person, bob: Person, mailbox: Mailbox, deps: Deps
) -> None:
    her = (await ada.get("/account")).json()["id"]
    await ada.post("/account/exports")
    await mailbox.to("ada@example.org")
    await ada.post("/account/deletion")
    him = AccountId(UUID((await bob.get("/account")).json()["id"]))
    for table in PERSONAL:
        if table.name == "events":  # ids and figures: the worker reads it for all accounts
            continue
        async with deps.db.transaction(him) as connection:
            cursor = await connection.execute(
                f"SELECT count(*) FROM {table.name} t WHERE t::text LIKE %s",
                [f"%{her}%"],
            )
            assert await cursor.fetchone() == (0,), table.name


@pytest.mark.parametrize("table", ["exports", "deletions", "consents", "mail_preferences"])
async def test_nothing_can_be_written_for_another_account(
    ada: Person, bob: Person, deps: Deps, table: str
) -> None:
    her = (await ada.get("/account")).json()["id"]
    him = AccountId(UUID((await bob.get("/account")).json()["id"]))
    values = {
        "exports": "(account_id, asked_at) VALUES (%s, now())",
        "deletions": "(account_id, asked_at, due_at, digest) "
        "VALUES (%s, now(), now() + interval '1 day', sha256('x'))",
        "consents": "(account_id, kind, version, given_at) VALUES (%s, 'news', '1', now())",
        "mail_preferences": "(account_id, kind, is_wanted) VALUES (%s, 'new_sign_in', false)",
    }
    async with deps.db.transaction(him) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await connection.execute(f"INSERT INTO {table} {values[table]}", [her])


async def test_bob_sees_nothing_of_ada(ada: Person, bob: Person, deps: Deps) -> None:
    her = AccountId(UUID((await ada.get("/account")).json()["id"]))
    await ada.post("/account/exports")
    await ada.post("/account/deletion")
    assert (await bob.get("/account/exports")).json() == []
    assert (await bob.get("/account/deletion")).status_code == 404
    assert (await bob.delete("/account/deletion")).status_code == 204
    await deletions.standing(deps.injected["rights"], her)
