"""Device authorisation over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from httpx import Response

from tests.cloud_api.accounts.people import (
    OTHER_PASSWORD,
    PASSWORD,
    Hands,
    Mailbox,
    Person,
    code_of,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shown(ada: Person) -> dict[str, Any]:
    """What the terminal was answered."""
    answer = await Person(ada.client, "").post(
        "/auth/device/code", {"device": "sunaiva on a server"}
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def poll(ada: Person, shown: dict[str, Any]) -> Response:
    terminal = Person(ada.client, "")
    return await terminal.post("/auth/device/token", {"device_code": shown["device_code"]})


async def decide(person: Person, shown: dict[str, Any], *, approve: bool = True) -> Response:
    body = {"user_code": shown["user_code"].lower(), "approve": approve}
    return await person.post("/account/device/decide", body)


async def test_a_person_approves_what_they_have_seen_and_the_terminal_is_logged_in(
    ada: Person, shown: dict[str, Any], clock: Hands
) -> None:
    assert shown["verification_uri_complete"].endswith(f"/account/device#{shown['user_code']}")
    assert code_of(await poll(ada, shown)) == "authorization_pending"
    typed = shown["user_code"].lower().replace("-", " ")
    look = await ada.post("/account/device/look", {"user_code": typed})
    assert look.json()["device"] == "sunaiva on a server"
    assert look.json()["user_code"] == shown["user_code"]
    assert (await decide(ada, shown)).status_code == 204
    clock.forward(seconds=shown["interval"])
    terminal = Person(ada.client, "")
    terminal.take((await poll(ada, shown)).json())
    assert (await terminal.get("/account")).json()["mail"] == ada.mail
    assert code_of(await terminal.post("/account/totp")) == "step_up_needed"
    clock.forward(seconds=shown["interval"])
    assert code_of(await poll(ada, shown)) == "expired_token"


async def test_a_terminal_that_asks_too_often_is_slowed_down(
    ada: Person, shown: dict[str, Any], clock: Hands
) -> None:
    assert code_of(await poll(ada, shown)) == "authorization_pending"
    assert code_of(await poll(ada, shown)) == "slow_down"
    clock.forward(seconds=9)
    assert code_of(await poll(ada, shown)) == "slow_down"
    clock.forward(seconds=15)
    answer = await poll(ada, shown)
    assert (answer.status_code, code_of(answer)) == (400, "authorization_pending")


async def test_a_refused_terminal_is_told(ada: Person, shown: dict[str, Any]) -> None:
    assert (await decide(ada, shown, approve=False)).status_code == 204
    assert code_of(await poll(ada, shown)) == "access_denied"


async def test_a_code_runs_out(ada: Person, shown: dict[str, Any], clock: Hands) -> None:
    clock.forward(minutes=14)
    await ada.log_in()
    clock.forward(minutes=1)
    assert code_of(await decide(ada, shown)) == "no_such_user_code"
    assert code_of(await poll(ada, shown)) == "expired_token"


async def test_approving_needs_proof_from_just_now_and_is_told_to_the_owner(
    ada: Person, shown: dict[str, Any], mailbox: Mailbox, clock: Hands
) -> None:
    clock.forward(minutes=11)
    stale = await decide(ada, shown)
    assert (stale.status_code, code_of(stale)) == (403, "step_up_needed")
    await ada.post("/account/step-up/password", {"password": PASSWORD})
    assert (await decide(ada, shown)).status_code == 204
    mail = (await mailbox.to(ada.mail))[-1]
    assert mail.subject == "A terminal was connected to your account"
    assert "sunaiva on a server" in mail.text


async def test_refusing_needs_no_proof(ada: Person, shown: dict[str, Any], clock: Hands) -> None:
    clock.forward(minutes=11)
    assert (await decide(ada, shown, approve=False)).status_code == 204


async def reset(ada: Person, mailbox: Mailbox) -> None:
    await ada.post("/auth/password/forgotten", {"mail": ada.mail})
    body = {"token": await mailbox.token(ada.mail), "password": OTHER_PASSWORD}
    assert (await ada.post("/auth/password/reset", body)).status_code == 204


async def end_others(ada: Person, _: Mailbox) -> None:
    assert (await ada.delete("/account/sessions")).status_code == 200


async def ask_for_deletion(ada: Person, _: Mailbox) -> None:
    assert (await ada.post("/account/deletion")).status_code == 202


@pytest.mark.parametrize("end", [reset, end_others, ask_for_deletion])
async def test_an_approval_ends_with_the_sessions(
    ada: Person, shown: dict[str, Any], mailbox: Mailbox, end: Callable[..., Awaitable[None]]
) -> None:
    assert (await decide(ada, shown)).status_code == 204
    await end(ada, mailbox)
    assert code_of(await poll(ada, shown)) == "expired_token"


async def test_a_decision_is_made_once(ada: Person, bob: Person, shown: dict[str, Any]) -> None:
    assert (await decide(ada, shown)).status_code == 204
    assert code_of(await decide(bob, shown)) == "no_such_user_code"


@pytest.mark.usefixtures("at_once")
async def test_a_session_is_given_once_however_many_ask(ada: Person, shown: dict[str, Any]) -> None:
    await decide(ada, shown)
    answers = await asyncio.gather(*(poll(ada, shown) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400]


async def test_user_codes_are_not_guessed(ada: Person, shown: dict[str, Any]) -> None:
    guesses = [
        await ada.post("/account/device/look", {"user_code": f"BCDF-GHJ{letter}"})
        for letter in "BCDFGHJ"
    ]
    assert [guess.status_code for guess in guesses] == [404] * 6 + [429]


async def test_a_stranger_approves_nothing(ada: Person, shown: dict[str, Any]) -> None:
    assert (await decide(Person(ada.client, ""), shown)).status_code == 401
    assert code_of(await poll(ada, shown)) == "authorization_pending"


@pytest.mark.parametrize("code", ["sunaiva_device_" + "A" * 43, "x"])
async def test_a_made_up_device_code_is_nothing(ada: Person, code: str) -> None:
    assert code_of(await poll(ada, {"device_code": code})) == "expired_token"


GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


async def form(person: Person, path: str, **fields: str) -> Response:
    """As a program does that knows the protocol and nothing of us."""
    return await person.client.post(f"/api/v1/auth/device/{path}", data=fields)


async def test_a_client_that_knows_the_protocol_only_logs_in_with_forms(
    ada: Person, clock: Hands
) -> None:
    begun = await form(ada, "code", client_id="sunaiva", scope="", resource="unknown to us")
    assert begun.status_code == 200, begun.text
    shown = begun.json()
    assert shown["interval"] == 5
    assert shown["expires_in"] == 900
    assert shown["verification_uri"].endswith("/account/device")
    asked = {
        "client_id": "sunaiva",
        "device_code": shown["device_code"],
        "grant_type": GRANT_TYPE,
    }
    waiting = await form(ada, "token", **asked)
    assert waiting.status_code == 400
    assert waiting.headers["content-type"] == "application/json"
    assert waiting.json()["error"] == waiting.json()["code"] == "authorization_pending"
    assert (await form(ada, "token", **asked)).json()["error"] == "slow_down"
    await decide(ada, shown)
    clock.forward(seconds=10)
    tokens = (await form(ada, "token", **asked)).json()
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    terminal = Person(ada.client, "")
    terminal.take(tokens)
    assert (await terminal.get("/account")).json()["mail"] == ada.mail


@pytest.mark.parametrize(
    ("path", "content", "error"),
    [
        ("code", b"client_id=somebody", "invalid_client"),
        ("code", b"client_id=sunaiva&client_id=sunaiva", "invalid_request"),
        ("code", b"device=a%00b", "invalid_request"),
        ("code", b"device=%ff", "invalid_request"),
        ("code", b"device=%ed%a0%80", "invalid_request"),
        ("code", b"\xff", "invalid_request"),
        ("code", b"&".join([b"a=b"] * 60), "invalid_request"),
        ("token", b"client_id=sunaiva&grant_type=" + GRANT_TYPE.encode(), "invalid_request"),
        ("token", b"device_code=x&client_id=somebody", "invalid_client"),
        ("token", b"device_code=x&grant_type=password", "unsupported_grant_type"),
        ("token", b"device_code=x&grant_type=" + GRANT_TYPE.encode(), "expired_token"),
        ("token", b"device_code=&client_id=sunaiva", "invalid_request"),
    ],
)
async def test_a_form_that_cannot_be_used_is_refused_by_the_name_that_the_protocol_gives_it(
    ada: Person, path: str, content: bytes, error: str
) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
    answer = await ada.client.post(f"/api/v1/auth/device/{path}", content=content, headers=kind)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_an_ordinary_route_takes_no_form(ada: Person) -> None:
    answer = await ada.client.post("/api/v1/auth/login", data={"mail": ada.mail, "password": "x"})
    assert answer.status_code == 415
