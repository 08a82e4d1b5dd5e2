"""An authenticator app and recovery codes, from setting up to losing the telephone."""

import asyncio

import pyotp
import pytest
from httpx import Response

from cloud_api.deps import Deps
from tests.cloud_api.accounts.people import PASSWORD, Hands, Person, code_of

pytestmark = pytest.mark.anyio


class App:
    """An authenticator app."""

    def __init__(self, secret: str, clock: Hands) -> None:
        self._totp = pyotp.TOTP(secret)
        self._clock = clock

    def next_code(self) -> str:
        self._clock.forward(seconds=30)
        return self._totp.at(self._clock())


@pytest.fixture
async def secured(ada: Person, clock: Hands) -> tuple[App, list[str]]:
    proposal = (await ada.post("/account/totp")).json()
    app = App(proposal["secret"], clock)
    confirmed = await ada.post("/account/totp/confirm", {"code": app.next_code()})
    assert confirmed.status_code == 200, confirmed.text
    return app, confirmed.json()["recovery_codes"]


async def first_step(ada: Person) -> str:
    answer = (await ada.log_in()).json()
    assert answer["state"] == "second_factor_wanted"
    challenge: str = answer["challenge"]
    return challenge


async def second_step(ada: Person, challenge: str, code: str) -> Response:
    body = {"challenge": challenge, "code": code}
    answer = await ada.post("/auth/login/second-factor", body)
    if answer.status_code == 200:
        ada.take(answer.json())
    return answer


async def test_a_password_alone_no_longer_opens_a_session(
    ada: Person, secured: tuple[App, list[str]]
) -> None:
    answer = (await ada.log_in()).json()
    assert answer["methods"] == ["totp", "recovery_code"]
    assert "tokens" not in answer
    wrong = await second_step(ada, answer["challenge"], "000000")
    assert (wrong.status_code, code_of(wrong)) == (403, "wrong_code")
    right = await second_step(ada, answer["challenge"], secured[0].next_code())
    assert right.status_code == 200
    again = await second_step(ada, answer["challenge"], secured[0].next_code())
    assert code_of(again) == "session_over"


async def test_a_code_that_was_seen_over_a_shoulder_is_used_up(
    ada: Person, secured: tuple[App, list[str]]
) -> None:
    code = secured[0].next_code()
    assert (await second_step(ada, await first_step(ada), code)).status_code == 200
    assert code_of(await second_step(ada, await first_step(ada), code)) == "wrong_code"


async def test_a_recovery_code_opens_once(ada: Person, secured: tuple[App, list[str]]) -> None:
    code = secured[1][0]
    assert (await second_step(ada, await first_step(ada), code.lower())).status_code == 200
    assert (await ada.get("/account/factors")).json()["recovery_codes_left"] == 9
    assert code_of(await second_step(ada, await first_step(ada), code)) == "wrong_code"


@pytest.mark.usefixtures("at_once")
async def test_of_recovery_codes_sent_at_once_with_one_challenge_one_is_used_up(
    ada: Person, secured: tuple[App, list[str]]
) -> None:
    challenge = await first_step(ada)
    answers = await asyncio.gather(*(second_step(ada, challenge, code) for code in secured[1][:4]))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
    assert (await ada.get("/account/factors")).json()["recovery_codes_left"] == 9


async def test_codes_are_not_guessed(ada: Person, secured: tuple[App, list[str]]) -> None:
    challenge = await first_step(ada)
    answers = [await second_step(ada, challenge, f"{number:06}") for number in range(7)]
    assert [answer.status_code for answer in answers] == [403] * 6 + [429]
    assert (await second_step(ada, challenge, secured[0].next_code())).status_code == 200


async def test_a_challenge_runs_out(
    ada: Person, secured: tuple[App, list[str]], clock: Hands
) -> None:
    challenge = await first_step(ada)
    clock.forward(minutes=5)
    assert code_of(await second_step(ada, challenge, secured[0].next_code())) == "session_over"


async def test_with_a_second_factor_a_password_proves_too_little(
    ada: Person, secured: tuple[App, list[str]], clock: Hands
) -> None:
    await second_step(ada, await first_step(ada), secured[0].next_code())
    clock.forward(minutes=11)
    removal = "/account/totp"
    assert code_of(await ada.delete(removal)) == "step_up_needed"
    password = await ada.post("/account/step-up/password", {"password": PASSWORD})
    assert code_of(password) == "second_factor_needed"
    code = await ada.post("/account/step-up/code", {"code": secured[0].next_code()})
    assert code.status_code == 204
    assert (await ada.delete(removal)).status_code == 204
    assert (await ada.log_in()).json()["state"] == "logged_in"
    assert (await ada.get("/account/factors")).json() == {
        "has_totp": False,
        "passkeys": 0,
        "recovery_codes_left": 0,
    }


async def test_new_recovery_codes_void_the_old_ones(
    ada: Person, secured: tuple[App, list[str]]
) -> None:
    await second_step(ada, await first_step(ada), secured[0].next_code())
    renewed = (await ada.post("/account/recovery-codes")).json()["recovery_codes"]
    assert len(set(renewed) | set(secured[1])) == 20
    assert code_of(await second_step(ada, await first_step(ada), secured[1][0])) == "wrong_code"
    assert (await second_step(ada, await first_step(ada), renewed[0])).status_code == 200


async def test_an_app_that_was_not_confirmed_is_no_factor(ada: Person) -> None:
    await ada.post("/account/totp")
    assert (await ada.log_in()).json()["state"] == "logged_in"
    assert code_of(await ada.post("/account/recovery-codes")) == "no_second_factor"


async def test_a_second_app_does_not_push_out_the_first(
    ada: Person, secured: tuple[App, list[str]]
) -> None:
    await second_step(ada, await first_step(ada), secured[0].next_code())
    assert code_of(await ada.post("/account/totp")) == "totp_there"


async def test_neither_secret_nor_recovery_code_can_be_read_from_the_database(
    ada: Person, secured: tuple[App, list[str]], deps: Deps
) -> None:
    me = (await ada.get("/account")).json()["id"] if ada.access_token else None
    async with deps.db.transaction(me) as connection:
        cursor = await connection.execute(
            "SELECT (SELECT string_agg(t::text, '') FROM totp_secrets t) || "
            "(SELECT string_agg(r::text, '') FROM recovery_codes r)"
        )
        row = await cursor.fetchone()
    assert row is not None
    for code in secured[1]:
        assert code.replace("-", "").encode().hex() not in row[0]


async def test_codes_whose_answer_was_lost_are_asked_for_again_under_the_same_key(
    ada: Person, secured: tuple[App, list[str]]
) -> None:
    await second_step(ada, await first_step(ada), secured[0].next_code())
    first, second, other = [
        (await ada.post("/account/recovery-codes", idempotency_key=key)).json()["recovery_codes"]
        for key in ("the-first-of-two", "the-first-of-two", "another-one-of-them")
    ]
    assert first == second != other
