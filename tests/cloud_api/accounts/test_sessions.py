"""Sessions over HTTP and the real database."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from cloud_api.app import document
from cloud_api.db import AccountId
from cloud_api.deps import Deps
from tests.cloud_api.accounts.conftest import SignedUp
from tests.cloud_api.accounts.people import Hands, Person, code_of

pytestmark = pytest.mark.anyio

_PATH_VALUES = {
    "kind": "new_sign_in",
    "session_id": str(UUID(int=1)),
    "passkey_id": str(UUID(int=1)),
}


def own_operations() -> list[tuple[str, str]]:
    """Every operation about one's own account, as the API's document has them."""
    paths = msgspec.json.decode(document())["paths"]
    return [
        (method, path.format_map(_PATH_VALUES))
        for path, item in paths.items()
        if path.startswith("/api/v1/account")
        for method in item
    ]


@pytest.mark.parametrize("end", ["log out", "delete"])
async def test_nothing_personal_is_shown_or_changed_by_a_session_that_was_ended(
    ada: Person, deps: Deps, end: str
) -> None:
    account = AccountId(UUID((await ada.get("/account")).json()["id"]))
    if end == "log out":
        assert (await ada.post("/auth/logout")).status_code == 204
    else:
        async with deps.db.transaction(account) as connection:
            await connection.execute("DELETE FROM audit_subjects")
            await connection.execute("DELETE FROM accounts")
    bearer = {"authorization": f"Bearer {ada.access_token}"}
    operations = own_operations()
    assert len(operations) > 30
    for method, path in operations:
        body: dict[str, Any] = {} if method in ("get", "delete") else {"json": {}}
        answer = await ada.client.request(method, path, headers=bearer, **body)
        assert (answer.status_code, code_of(answer)) == (401, "session_over"), (method, path)
    if end == "delete":
        async with deps.db.transaction(account) as connection:
            cursor = await connection.execute("SELECT FROM audit_subjects")
            assert cursor.rowcount == 0


async def test_a_kept_answer_is_not_given_to_a_session_that_was_ended(ada: Person) -> None:
    headers = {"idempotency_key": "0123456789abcdef"}
    assert (await ada.post("/account/exports", **headers)).status_code == 202
    assert (await ada.post("/account/exports", **headers)).status_code == 202
    await ada.post("/auth/logout")
    assert code_of(await ada.post("/account/exports", **headers)) == "session_over"


async def refreshed(person: Person, token: str) -> int:
    return (await person.post("/auth/refresh", {"refresh_token": token})).status_code


async def test_a_stolen_refresh_token_ends_the_family(ada: Person, clock: Hands) -> None:
    stolen = ada.refresh_token
    assert (await ada.refresh()).status_code == 200
    clock.forward(minutes=1)
    assert await refreshed(ada, stolen) == 401
    assert code_of(await ada.refresh()) == "session_over"
    assert code_of(await ada.get("/account")) == "session_over"


async def test_a_thief_who_comes_first_is_found_out_by_the_owner(ada: Person, clock: Hands) -> None:
    thief = Person(ada.client, ada.mail, refresh_token=ada.refresh_token)
    assert (await thief.refresh()).status_code == 200
    clock.forward(minutes=14)
    assert (await ada.refresh()).status_code == 401
    assert (await thief.refresh()).status_code == 401


async def test_a_client_that_did_not_hear_the_answer_gets_the_same_token_again(
    ada: Person, clock: Hands
) -> None:
    first = ada.refresh_token
    one = (await ada.post("/auth/refresh", {"refresh_token": first})).json()
    clock.forward(seconds=29)
    other = (await ada.post("/auth/refresh", {"refresh_token": first})).json()
    assert one["refresh_token"] == other["refresh_token"]
    ada.take(other)
    assert (await ada.refresh()).status_code == 200
    assert await refreshed(ada, first) == 401, "its successor was used"
    assert (await ada.refresh()).status_code == 401


@pytest.mark.usefixtures("at_once")
async def test_refreshes_at_the_same_moment_make_one_successor(ada: Person) -> None:
    token = {"refresh_token": ada.refresh_token}
    answers = await asyncio.gather(*(ada.post("/auth/refresh", token) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


async def test_a_session_that_is_not_used_for_a_week_is_over(ada: Person, clock: Hands) -> None:
    clock.forward(days=6, hours=23)
    assert (await ada.refresh()).status_code == 200
    clock.forward(days=7)
    assert (await ada.refresh()).status_code == 401


async def test_an_access_token_runs_out(ada: Person, clock: Hands) -> None:
    clock.forward(minutes=16)
    answer = await ada.get("/account")
    assert (answer.status_code, code_of(answer)) == (401, "not_logged_in")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_logging_out_ends_this_session_only(ada: Person, signed_up: SignedUp) -> None:
    phone = Person(ada.client, ada.mail)
    await phone.log_in()
    assert (await ada.post("/auth/logout")).status_code == 204
    assert (await ada.post("/auth/logout")).status_code == 204
    assert (await ada.refresh()).status_code == 401
    assert (await phone.refresh()).status_code == 200


async def test_a_client_whose_access_token_has_run_out_logs_out_by_its_refresh_token(
    ada: Person, clock: Hands
) -> None:
    clock.forward(minutes=16)
    body = {"refresh_token": ada.refresh_token}
    assert (await ada.post("/auth/logout", body)).status_code == 204
    assert (await ada.refresh()).status_code == 401


async def test_a_person_sees_where_they_are_logged_in_and_ends_it(ada: Person) -> None:
    phone = Person(ada.client, ada.mail)
    answer = await phone.post(
        "/auth/login",
        {"mail": ada.mail, "password": "seven green lanterns above Oslo", "device": "My phone"},
    )
    phone.take(answer.json()["tokens"])
    listed = (await ada.get("/account/sessions")).json()["items"]
    assert [(each["device"], each["is_this"]) for each in listed] == [
        ("My phone", False),
        (None, True),
    ]
    other = listed[0]["id"]
    assert (await ada.delete(f"/account/sessions/{other}")).status_code == 204
    assert (await ada.delete(f"/account/sessions/{other}")).status_code == 404
    assert (await phone.refresh()).status_code == 401
    assert (await ada.refresh()).status_code == 200


async def test_a_person_ends_all_other_sessions_at_once(ada: Person) -> None:
    others = [Person(ada.client, ada.mail) for _ in range(2)]
    for each in others:
        await each.log_in()
    answer = await ada.delete("/account/sessions")
    assert (answer.status_code, answer.json()) == (200, {"ended": 2})
    assert [(await each.refresh()).status_code for each in others] == [401, 401]
    assert (await ada.refresh()).status_code == 200


async def test_nobody_ends_a_session_of_somebody_else(ada: Person, bob: Person) -> None:
    (session,) = (await bob.get("/account/sessions")).json()["items"]
    assert (await ada.delete(f"/account/sessions/{session['id']}")).status_code == 404
    assert (await ada.delete(f"/account/sessions/{uuid4()}")).status_code == 404
    assert (await bob.refresh()).status_code == 200


@pytest.mark.parametrize("token", ["x", "sunaiva_refresh_" + "A" * 43, "sunaiva_reset_" + "A" * 43])
async def test_a_made_up_refresh_token_is_nothing(ada: Person, token: str) -> None:
    assert await refreshed(ada, token) == 401
    assert (await ada.refresh()).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer a.b.c",
        "Bearer x",
        "bearer é",
        "Bearer " + "A" * 5000,
    ],
)
async def test_a_header_that_is_no_token_is_nobody(ada: Person, header: str) -> None:
    answer = await ada.client.get(
        "/api/v1/account", headers=[(b"authorization", header.encode("latin-1"))]
    )
    assert answer.status_code == 401


async def test_neither_token_nor_successor_can_be_read_from_the_database(
    ada: Person, deps: Deps
) -> None:
    first = ada.refresh_token
    await ada.refresh()
    me = (await ada.get("/account")).json()["id"]
    async with deps.db.transaction(me) as connection:
        cursor = await connection.execute("SELECT refresh_tokens::text FROM refresh_tokens")
        rows = " ".join(row[0] for row in await cursor.fetchall())
    for token in (first, ada.refresh_token):
        assert token not in rows
        assert token.encode().hex() not in rows
