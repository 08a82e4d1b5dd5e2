"""Passkeys, with an authenticator in software."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from httpx import Response

from cloud_api.accounts.passkeys import actions
from cloud_api.accounts.passkeys.actions import TooManyPasskeysError
from cloud_api.accounts.passkeys.store import PASSKEYS_MAX
from cloud_api.accounts.tokens import Bearer, SessionId
from cloud_api.db import AccountId
from cloud_api.deps import Deps
from tests.cloud_api.accounts.authenticator import PRESENT, Authenticator
from tests.cloud_api.accounts.people import Hands, Person, code_of

pytestmark = pytest.mark.anyio


async def register(person: Person, key: Authenticator, name: str = "Laptop") -> Response:
    ceremony = (await person.post("/account/passkeys/options")).json()
    body = {
        "handle": ceremony["handle"],
        "credential": key.register(ceremony["options"]),
        "name": name,
    }
    return await person.post("/account/passkeys", body)


async def signed(person: Person, key: Authenticator) -> dict[str, Any]:
    ceremony = (await person.post("/auth/login/passkey/options")).json()
    return {"handle": ceremony["handle"], "credential": key.sign(ceremony["options"])}


async def log_in(person: Person, key: Authenticator) -> Response:
    return await person.post("/auth/login/passkey", await signed(person, key))


async def test_a_passkey_logs_in_without_mail_address_or_password(ada: Person) -> None:
    key = Authenticator()
    added = await register(ada, key)
    assert added.status_code == 201, added.text
    assert len(added.json()["recovery_codes"]) == 10
    stranger = Person(ada.client, "")
    answer = await log_in(stranger, key)
    assert answer.status_code == 200, answer.text
    stranger.take(answer.json())
    assert (await stranger.get("/account")).json()["mail"] == ada.mail


@pytest.mark.parametrize("name", ["one\n", "a\u202eb", ""])
async def test_a_name_that_shows_as_another_is_refused(ada: Person, name: str) -> None:
    answer = await register(ada, Authenticator(), name)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "name")


async def test_with_a_passkey_a_password_is_only_the_first_step(ada: Person) -> None:
    await register(ada, Authenticator())
    answer = (await ada.log_in()).json()
    assert (answer["state"], answer["methods"]) == (
        "second_factor_wanted",
        ["passkey", "recovery_code"],
    )


async def test_a_passkey_proves_that_the_person_is_there(ada: Person, clock: Hands) -> None:
    key = Authenticator()
    await register(ada, key)
    assert code_of(await ada.post("/account/passkeys/options")) == "step_up_needed"
    assert (await ada.post("/account/step-up/passkey", await signed(ada, key))).status_code == 204
    assert (await ada.post("/account/passkeys/options")).status_code == 200


async def test_an_answer_is_good_for_one_challenge_once(ada: Person, clock: Hands) -> None:
    key = Authenticator()
    await register(ada, key)
    body = await signed(ada, key)
    assert (await ada.post("/auth/login/passkey", body)).status_code == 200
    assert code_of(await ada.post("/auth/login/passkey", body)) == "passkey_refused"
    late = await signed(ada, key)
    clock.forward(minutes=5)
    assert code_of(await ada.post("/auth/login/passkey", late)) == "passkey_refused"


async def test_a_page_of_somebody_else_cannot_use_a_passkey(ada: Person) -> None:
    key = Authenticator()
    await register(ada, key)
    key.origin = "https://sunaiva.example.net"
    assert code_of(await log_in(ada, key)) == "passkey_refused"


async def test_a_finger_is_needed_and_not_only_a_touch(ada: Person) -> None:
    key = Authenticator()
    key.flags = PRESENT
    assert code_of(await register(ada, key)) == "passkey_refused"
    key = Authenticator()
    await register(ada, key)
    key.flags = PRESENT
    assert code_of(await log_in(ada, key)) == "passkey_refused"


async def test_a_copied_authenticator_is_refused(ada: Person) -> None:
    key = Authenticator()
    await register(ada, key)
    key.count = 9
    assert (await log_in(ada, key)).status_code == 200
    key.count = 3
    assert code_of(await log_in(ada, key)) == "passkey_refused"


async def test_another_key_does_not_pass_for_a_known_credential(ada: Person) -> None:
    await register(ada, Authenticator())
    assert code_of(await log_in(ada, Authenticator())) == "passkey_refused"


async def test_a_credential_belongs_to_one_account(ada: Person, bob: Person) -> None:
    key = Authenticator()
    await register(ada, key)
    assert code_of(await register(bob, key)) == "passkey_known"
    assert code_of(await bob.post("/account/step-up/passkey", await signed(bob, key))) == (
        "passkey_refused"
    )


async def test_nobody_finishes_the_registration_of_somebody_else(ada: Person, bob: Person) -> None:
    ceremony = (await ada.post("/account/passkeys/options")).json()
    credential = Authenticator().register(ceremony["options"])
    body = {"handle": ceremony["handle"], "credential": credential, "name": "x"}
    assert code_of(await bob.post("/account/passkeys", body)) == "passkey_refused"


async def test_a_person_lists_and_removes_their_own_passkeys_only(ada: Person, bob: Person) -> None:
    key = Authenticator()
    passkey = (await register(ada, key)).json()["passkey"]
    assert [each["name"] for each in (await ada.get("/account/passkeys")).json()["items"]] == [
        "Laptop"
    ]
    assert (await bob.delete(f"/account/passkeys/{passkey['id']}")).status_code == 404
    await ada.post("/account/step-up/passkey", await signed(ada, key))
    assert (await ada.delete(f"/account/passkeys/{passkey['id']}")).status_code == 204
    assert code_of(await log_in(ada, key)) == "passkey_refused"


@pytest.mark.parametrize(
    "credential",
    [
        {},
        {"id": 1},
        {"id": "é"},
        {"id": "a", "rawId": "b", "type": "public-key", "response": {}},
        {"id": "YQ", "rawId": "YQ", "type": "public-key", "response": {"clientDataJSON": "e30"}},
        {"id": "x" * 2000},
    ],
    ids=str,
)
async def test_what_is_no_credential_is_refused(ada: Person, credential: dict[str, Any]) -> None:
    ceremony = (await ada.post("/auth/login/passkey/options")).json()
    body = {"handle": ceremony["handle"], "credential": credential}
    assert code_of(await ada.post("/auth/login/passkey", body)) == "passkey_refused"
    ceremony = (await ada.post("/account/passkeys/options")).json()
    body = {"handle": ceremony["handle"], "credential": credential, "name": "x"}
    assert code_of(await ada.post("/account/passkeys", body)) == "passkey_refused"


@pytest.mark.usefixtures("at_once")
async def test_nobody_gets_more_passkeys_than_there_may_be_by_beginning_them_at_once(
    ada: Person, deps: Deps
) -> None:
    means = deps.accounts
    (session,) = (await ada.get("/account/sessions")).json()["items"]
    me = (await ada.get("/account")).json()["id"]
    bearer = Bearer(AccountId(UUID(me)), SessionId(UUID(session["id"])))
    begun = [await actions.begin_adding(means, bearer) for _ in range(PASSKEYS_MAX + 2)]
    keys = [Authenticator(f"credential-{number}".encode()) for number in range(len(begun))]
    credentials = [key.register(each.options) for key, each in zip(keys, begun, strict=True)]
    outcomes = await asyncio.gather(
        *(
            actions.add(means, bearer, handle=each.handle, credential=credential, name="Laptop")
            for each, credential in zip(begun, credentials, strict=True)
        ),
        return_exceptions=True,
    )
    refused = [each for each in outcomes if isinstance(each, BaseException)]
    assert [type(each) for each in refused] == [TooManyPasskeysError] * 2
    assert (await ada.get("/account/factors")).json()["passkeys"] == PASSKEYS_MAX
