"""What one account can see and do of another's: nothing. And what a query costs that every login asks."""

from datetime import datetime
from uuid import UUID

import psycopg
import pyotp
import pytest
from httpx import AsyncClient

from cloud_api.accounts.routes.every import account
from cloud_api.db import AccountId
from cloud_api.deps import Deps
from cloud_api.jobs import Tick
from tests.cloud_api.accounts.people import AGREED, PASSWORD, Hands, Mailbox, Person

pytestmark = pytest.mark.anyio

TABLES = (
    "accounts",
    "account_tokens",
    "sessions",
    "refresh_tokens",
    "totp_secrets",
    "recovery_codes",
    "passkeys",
    "account_roles",
    "sign_ups",
    "passkey_challenges",
    "device_grants",
)


async def test_no_row_of_anybody_is_seen_by_somebody_else_or_by_nobody(
    ada: Person, bob: Person, deps: Deps
) -> None:
    await ada.post("/account/totp")
    await ada.post("/account/mail", {"mail": "new@example.org"})
    await ada.post("/auth/login/passkey/options")
    await ada.post("/auth/device/code", {"device": "terminal"})
    await ada.post(
        "/auth/sign-up",
        {"mail": "c@example.org", "password": "nine wooden boats at sea", **AGREED},
    )
    bob_id = AccountId(UUID((await bob.get("/account")).json()["id"]))
    for somebody, own in (
        (bob_id, {"accounts": 1, "sessions": 1, "refresh_tokens": 1}),
        (None, {}),
    ):
        async with deps.db.transaction(somebody) as connection:
            seen = {}
            for table in TABLES:
                cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
                row = await cursor.fetchone()
                assert row is not None
                seen[table] = row[0]
        assert {table: count for table, count in seen.items() if count} == own


async def test_nobody_writes_a_row_of_somebody_else(ada: Person, bob: Person, deps: Deps) -> None:
    ids = [AccountId(UUID((await each.get("/account")).json()["id"])) for each in (ada, bob)]
    async with deps.db.transaction(ids[1]) as connection:
        for statement in (
            "UPDATE accounts SET name = 'x' WHERE id = %s",
            "DELETE FROM sessions WHERE account_id = %s",
        ):
            assert (await connection.execute(statement, [ids[0]])).rowcount == 0

    async def grant_to_another() -> None:
        async with deps.db.transaction(ids[1]) as connection:
            await connection.execute(
                "INSERT INTO account_roles (account_id, role, granted_at) VALUES (%s, 'admin', now())",
                [ids[0]],
            )

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await grant_to_another()


async def test_the_application_cannot_change_what_a_role_may_do(deps: Deps) -> None:
    async def widen() -> None:
        async with deps.db.transaction() as connection:
            await connection.execute("INSERT INTO role_permissions VALUES ('user', 'ledger.read')")

    async with deps.db:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await widen()


async def test_every_endpoint_of_an_account_asks_who_is_there(
    client: AsyncClient,
) -> None:
    found = 0
    for route in account.routes:
        path = route.path.replace("{session_id:uuid}", str(UUID(int=1))).replace(
            "{passkey_id:uuid}", str(UUID(int=1))
        )
        for method in getattr(route, "methods", set()) - {"OPTIONS", "HEAD"}:
            answer = await client.request(method, path, json={})
            assert answer.status_code == 401, (method, path, answer.text)
            found += 1
    assert found > 20


async def test_tokens_of_one_kind_are_none_of_another(ada: Person, mailbox: Mailbox) -> None:
    await ada.post("/auth/password/forgotten", {"mail": ada.mail})
    reset = await mailbox.token(ada.mail)
    for path, more in (("/auth/verify", {"password": PASSWORD}), ("/auth/mail/confirm", {})):
        assert (await ada.post(path, {"token": reset, **more})).status_code == 403
    assert (await ada.post("/auth/refresh", {"refresh_token": reset})).status_code == 401
    bearer = {"authorization": f"Bearer {ada.refresh_token}"}
    assert (await ada.client.get("/api/v1/account", headers=bearer)).status_code == 401


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT id FROM accounts WHERE mail_key = 'a'", "accounts_one_per_mail"),
        ("SELECT account_id FROM refresh_tokens WHERE digest = '\\x00'", "refresh_tokens_pkey"),
        ("SELECT account_id FROM account_tokens WHERE digest = '\\x00'", "account_tokens_pkey"),
        (
            "SELECT account_id FROM passkeys WHERE credential_id = '\\x00'",
            "passkeys_one_per_credential",
        ),
        (
            "SELECT device FROM device_grants WHERE user_code = '\\x00'",
            "device_grants_one_per_user_code",
        ),
        ("SELECT failures FROM throttles WHERE key = '\\x00'", "throttles_pkey"),
        (
            "SELECT proved_at FROM sessions WHERE account_id = current_account() AND id = uuidv7()",
            "sessions_pkey",
        ),
        (
            "SELECT digest FROM refresh_tokens WHERE (account_id, session_id) = (current_account(), uuidv7())",
            "refresh_tokens_by_session",
        ),
    ],
)
async def test_what_is_asked_all_the_time_is_found_by_an_index(
    deps: Deps, query: str, index: str
) -> None:
    async with deps.db, deps.db.transaction(AccountId(UUID(int=1))) as connection:
        # The tables of a test are so small that reading all of them is cheaper.
        await connection.execute("SET LOCAL enable_seqscan = off")
        cursor = await connection.execute(f"EXPLAIN {query}".encode())
        plan = "\n".join(row[0] for row in await cursor.fetchall())
    assert index in plan
    assert "Seq Scan" not in plan


async def test_what_has_run_out_is_forgotten_and_nothing_else(ada: Person, deps: Deps) -> None:
    await ada.post("/auth/login/passkey/options")
    await ada.post("/auth/device/code", {"device": "terminal"})
    async with deps.db.transaction() as connection:
        cursor = await connection.execute(
            "SELECT forget_spent_credentials(%s, 100), forget_spent_credentials(%s, 100)",
            [deps.clock(), "2026-11-25T12:00:00Z"],
        )
        now, later = (await cursor.fetchone()) or (None, None)
    assert now == 0
    assert later is not None
    assert later >= 2
    assert (await ada.refresh()).status_code == 200


async def test_forgetting_goes_on_piece_by_piece_until_nothing_is_left(
    ada: Person, deps: Deps
) -> None:
    for _ in range(5):
        await ada.post("/auth/login/passkey/options")
    async with deps.db.transaction() as connection:
        gone = []
        for _ in range(4):
            cursor = await connection.execute(
                "SELECT forget_spent_credentials('2026-11-21T13:00:00Z', 2)"
            )
            gone.extend(await cursor.fetchall())
    assert gone == [(2,), (2,), (1,), (0,)]


async def test_an_authenticator_app_that_was_never_confirmed_is_forgotten_after_a_day(
    ada: Person, bob: Person, deps: Deps, clock: Hands
) -> None:
    secret = (await bob.post("/account/totp")).json()["secret"]
    confirmed = {"code": pyotp.TOTP(secret).at(clock())}
    assert (await bob.post("/account/totp/confirm", confirmed)).status_code == 200
    await ada.post("/account/totp")
    ids = [AccountId(UUID((await each.get("/account")).json()["id"])) for each in (ada, bob)]
    for hours, left in ((23, 1), (2, 0)):
        clock.forward(hours=hours)
        await run(deps, "accounts.forget", clock.now)
        assert await secrets_of(deps, ids[0]) == left
    assert await secrets_of(deps, ids[1]) == 1


async def run(deps: Deps, name: str, at: datetime) -> None:
    (job,) = [each for each in deps.jobs if each.task.name == name]
    await job.run(Tick(at))


async def secrets_of(deps: Deps, account: AccountId) -> int:
    """Of authenticator apps."""
    async with deps.db.transaction(account) as connection:
        cursor = await connection.execute("SELECT count(*) FROM totp_secrets")
        row = await cursor.fetchone()
    assert row is not None
    found: int = row[0]
    return found
