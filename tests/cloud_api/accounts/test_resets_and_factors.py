"""A reset by mail where there are second factors: no owner is kept out for good, and nobody gets in by the mailbox alone at once."""

from typing import Any

import pytest

from tests.cloud_api.accounts.authenticator import Authenticator
from tests.cloud_api.accounts.people import (
    OTHER_PASSWORD,
    PASSWORD,
    Hands,
    Mailbox,
    Person,
    code_of,
)
from tests.cloud_api.accounts.test_passkeys import log_in, register, signed

pytestmark = pytest.mark.anyio


async def reset(person: Person, mailbox: Mailbox, **more: Any) -> None:
    await person.post("/auth/password/forgotten", {"mail": person.mail})
    body = {"token": await mailbox.token(person.mail), "password": OTHER_PASSWORD, **more}
    assert (await person.post("/auth/password/reset", body)).status_code == 204


async def state(person: Person) -> str:
    found: str = (await person.log_in(OTHER_PASSWORD)).json()["state"]
    return found


async def test_the_owner_is_told_of_a_factor_that_is_added_or_removed(
    ada: Person, mailbox: Mailbox
) -> None:
    key = Authenticator()
    added = (await register(ada, key)).json()["passkey"]["id"]
    assert (await mailbox.subjects(ada.mail))[-1] == "A second factor was added"
    await ada.post("/account/step-up/passkey", await signed(ada, key))
    assert (await ada.delete(f"/account/passkeys/{added}")).status_code == 204
    assert (await mailbox.subjects(ada.mail))[-1] == "A second factor was removed"


async def test_a_passkey_that_a_thief_added_opens_nothing_after_a_reset(
    ada: Person, mailbox: Mailbox
) -> None:
    key = Authenticator()
    await register(ada, key)
    assert (await log_in(Person(ada.client, ""), key)).status_code == 200
    await reset(ada, mailbox)
    refused = await log_in(Person(ada.client, ""), key)
    assert (refused.status_code, code_of(refused)) == (403, "passkey_needs_password")


async def test_the_owners_passkey_counts_again_once_it_was_shown_with_the_new_password(
    ada: Person, mailbox: Mailbox
) -> None:
    key = Authenticator()
    await register(ada, key)
    await reset(ada, mailbox)
    challenge = (await ada.log_in(OTHER_PASSWORD)).json()["challenge"]
    body = {**await signed(ada, key), "challenge": challenge}
    assert (await ada.post("/auth/login/passkey", body)).status_code == 200
    again = {**await signed(ada, key), "challenge": challenge}
    assert code_of(await ada.post("/auth/login/passkey", again)) == "session_over"
    assert (await log_in(Person(ada.client, ""), key)).status_code == 200


async def test_a_challenge_of_one_account_does_not_go_with_the_passkey_of_another(
    ada: Person, bob: Person
) -> None:
    key = Authenticator()
    await register(ada, key)
    await register(bob, Authenticator(b"credential-of-bob"))
    challenge = (await bob.log_in()).json()["challenge"]
    body = {**await signed(ada, key), "challenge": challenge}
    assert code_of(await ada.post("/auth/login/passkey", body)) == "passkey_refused"


async def test_an_owner_whom_a_strangers_factor_keeps_out_gets_in_after_a_week(
    ada: Person, mailbox: Mailbox, clock: Hands
) -> None:
    key = Authenticator()
    await register(ada, key)
    await reset(ada, mailbox, factors_lost=True)
    assert (await mailbox.subjects(ada.mail))[-1] == "Your second factors will be removed"
    clock.forward(days=6, hours=23)
    assert await state(ada) == "second_factor_wanted"
    # Whoever has a factor and not the new password cannot put it off.
    assert (await log_in(Person(ada.client, ""), key)).status_code == 403
    clock.forward(hours=1)
    assert await state(ada) == "logged_in"
    assert (await mailbox.subjects(ada.mail))[-1] == "A second factor was removed"
    assert code_of(await log_in(Person(ada.client, ""), key)) == "passkey_refused"


async def test_a_thief_of_the_mailbox_does_not_get_past_an_owner_who_reads_it_too(
    ada: Person, mailbox: Mailbox, clock: Hands
) -> None:
    await register(ada, Authenticator())
    await reset(ada, mailbox, factors_lost=True)
    keep = {"token": await mailbox.token(ada.mail)}
    assert (await ada.post("/auth/factors/keep", keep)).status_code == 204
    assert code_of(await ada.post("/auth/factors/keep", keep)) == "link_over"
    clock.forward(days=7)
    assert await state(ada) == "second_factor_wanted"


async def test_who_shows_a_factor_keeps_them(ada: Person, mailbox: Mailbox, clock: Hands) -> None:
    codes = (await register(ada, Authenticator())).json()["recovery_codes"]
    await reset(ada, mailbox, factors_lost=True)
    challenge = (await ada.log_in(OTHER_PASSWORD)).json()["challenge"]
    body = {"challenge": challenge, "code": codes[0]}
    assert (await ada.post("/auth/login/second-factor", body)).status_code == 200
    clock.forward(days=7)
    assert await state(ada) == "second_factor_wanted"


async def test_factors_that_were_said_to_be_lost_and_not_come_back_for_stay(
    ada: Person, mailbox: Mailbox, clock: Hands
) -> None:
    await register(ada, Authenticator())
    await reset(ada, mailbox, factors_lost=True)
    clock.forward(days=14)
    assert await state(ada) == "second_factor_wanted"


async def test_a_password_alone_does_not_begin_the_wait(ada: Person, clock: Hands) -> None:
    await register(ada, Authenticator())
    clock.forward(days=7)
    assert (await ada.log_in(PASSWORD)).json()["state"] == "second_factor_wanted"
