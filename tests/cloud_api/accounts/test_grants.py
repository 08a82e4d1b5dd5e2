"""Device authorisation over HTTP."""

import asyncio
from typing import Any

import pytest
from httpx import Response

from tests.cloud_api.accounts.people import Hands, Person, code_of

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
    look = await ada.post("/account/device/look", {"user_code": shown["user_code"]})
    assert look.json()["device"] == "sunaiva on a server"
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


async def test_a_decision_is_made_once(ada: Person, bob: Person, shown: dict[str, Any]) -> None:
    assert (await decide(ada, shown)).status_code == 204
    assert code_of(await decide(bob, shown)) == "no_such_user_code"


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
