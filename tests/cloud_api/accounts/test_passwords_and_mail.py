"""Changing and resetting a password, and moving to another address."""

import pytest

from cloud_api.accounts.people.actions import RESET_LIFE
from tests.cloud_api.accounts.people import (
    OTHER_PASSWORD,
    PASSWORD,
    Hands,
    Mailbox,
    Person,
    code_of,
)

pytestmark = pytest.mark.anyio


async def test_a_stranger_cannot_tell_by_a_reset_whether_an_address_has_an_account(
    ada: Person, mailbox: Mailbox
) -> None:
    known = await ada.post("/auth/password/forgotten", {"mail": ada.mail})
    unknown = await ada.post("/auth/password/forgotten", {"mail": "nobody@example.org"})
    assert (known.status_code, known.json()) == (unknown.status_code, unknown.json())
    assert (await mailbox.subjects(ada.mail))[-1] == "Set a new password"
    assert await mailbox.to("nobody@example.org") == []


async def test_a_reset_ends_every_session_and_is_told_to_the_owner(
    ada: Person, mailbox: Mailbox
) -> None:
    await ada.post("/auth/password/forgotten", {"mail": ada.mail})
    token = await mailbox.token(ada.mail)
    weak = await ada.post("/auth/password/reset", {"token": token, "password": "password1234"})
    assert code_of(weak) == "weak_password"
    body = {"token": token, "password": OTHER_PASSWORD}
    assert (await ada.post("/auth/password/reset", body)).status_code == 204
    assert code_of(await ada.post("/auth/password/reset", body)) == "link_over"
    assert (await ada.refresh()).status_code == 401
    assert (await ada.log_in(PASSWORD)).status_code == 401
    assert (await ada.log_in(OTHER_PASSWORD)).status_code == 200
    assert (await mailbox.subjects(ada.mail))[-1] == "Your password was changed"


async def test_a_link_is_not_for_trying_passwords_without_end(
    ada: Person, mailbox: Mailbox
) -> None:
    await ada.post("/auth/password/forgotten", {"mail": ada.mail})
    body = {"token": await mailbox.token(ada.mail), "password": "password1234"}
    answers = [await ada.post("/auth/password/reset", body) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [400] * 6 + [429]


async def test_a_reset_link_runs_out_and_a_newer_one_takes_its_place(
    ada: Person, mailbox: Mailbox, clock: Hands
) -> None:
    tokens = []
    for _ in range(2):
        await ada.post("/auth/password/forgotten", {"mail": ada.mail})
        tokens.append(await mailbox.token(ada.mail))
    first, second = ({"token": token, "password": OTHER_PASSWORD} for token in tokens)
    assert code_of(await ada.post("/auth/password/reset", first)) == "link_over"
    clock.forward(seconds=RESET_LIFE.total_seconds())
    assert code_of(await ada.post("/auth/password/reset", second)) == "link_over"


async def test_a_changed_password_leaves_this_session_and_no_other(
    ada: Person, mailbox: Mailbox
) -> None:
    phone = Person(ada.client, ada.mail)
    await phone.log_in()
    wrong = await ada.post(
        "/account/password", {"present": OTHER_PASSWORD, "password": OTHER_PASSWORD}
    )
    assert code_of(wrong) == "wrong_password"
    body = {"present": PASSWORD, "password": OTHER_PASSWORD}
    assert (await ada.post("/account/password", body)).status_code == 204
    assert (await ada.get("/account")).status_code == 200
    assert (await phone.get("/account")).status_code == 401
    assert (await mailbox.subjects(ada.mail))[-1] == "Your password was changed"


async def test_what_is_sensitive_needs_proof_from_just_now(ada: Person, clock: Hands) -> None:
    clock.forward(minutes=11)
    body = {"mail": "ada@example.com"}
    assert code_of(await ada.post("/account/mail", body)) == "step_up_needed"
    wrong = await ada.post("/account/step-up/password", {"password": OTHER_PASSWORD})
    assert code_of(wrong) == "wrong_password"
    right = await ada.post("/account/step-up/password", {"password": PASSWORD})
    assert right.status_code == 204
    assert (await ada.post("/account/mail", body)).status_code == 202


async def test_a_new_address_has_to_answer_and_the_old_one_is_told(
    ada: Person, mailbox: Mailbox
) -> None:
    assert (await ada.post("/account/mail", {"mail": "ada@example.com"})).status_code == 202
    assert (await mailbox.subjects(ada.mail))[-1] == "Your mail address is to be changed"
    assert (await ada.get("/account")).json()["mail"] == "ada@example.org"
    token = {"token": await mailbox.token("ada@example.com")}
    assert (await ada.post("/auth/mail/confirm", token)).status_code == 204
    assert code_of(await ada.post("/auth/mail/confirm", token)) == "link_over"
    assert (await ada.log_in()).status_code == 401
    assert (await Person(ada.client, "ada@example.com").log_in()).status_code == 200


async def test_a_reset_from_the_old_address_stops_the_move(ada: Person, mailbox: Mailbox) -> None:
    await ada.post("/account/mail", {"mail": "thief@example.com"})
    stolen = {"token": await mailbox.token("thief@example.com")}
    await ada.post("/auth/password/forgotten", {"mail": ada.mail})
    body = {"token": await mailbox.token(ada.mail), "password": OTHER_PASSWORD}
    assert (await ada.post("/auth/password/reset", body)).status_code == 204
    assert code_of(await ada.post("/auth/mail/confirm", stolen)) == "link_over"


async def test_an_address_that_has_an_account_is_not_told_to_who_wants_it(
    ada: Person, bob: Person, mailbox: Mailbox
) -> None:
    free = await ada.post("/account/mail", {"mail": "free@example.org"})
    taken = await ada.post("/account/mail", {"mail": bob.mail})
    assert (free.status_code, free.json()) == (taken.status_code, taken.json())
    assert (await mailbox.subjects(bob.mail))[-1] == "You already have an account"


async def test_an_address_taken_while_its_mail_was_on_the_way_stays_where_it_is(
    ada: Person, bob: Person, mailbox: Mailbox
) -> None:
    tokens = []
    for person in (ada, bob):
        await person.post("/account/mail", {"mail": "wanted@example.org"})
        tokens.append({"token": await mailbox.token("wanted@example.org")})
    assert (await ada.post("/auth/mail/confirm", tokens[0])).status_code == 204
    assert code_of(await bob.post("/auth/mail/confirm", tokens[1])) == "link_over"
    assert (await bob.get("/account")).json()["mail"] == bob.mail
