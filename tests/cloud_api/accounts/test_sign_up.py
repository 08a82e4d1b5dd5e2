"""Signing up: one account for one mailbox, and nobody learns whose mailbox has one."""

import asyncio
from datetime import datetime

import pytest
from httpx import AsyncClient, Response

from cloud_api.deps import Deps
from tests.cloud_api.accounts.conftest import SignedUp
from tests.cloud_api.accounts.people import (
    AGREED,
    OTHER_PASSWORD,
    PASSWORD,
    Hands,
    Mailbox,
    Person,
    code_of,
    drain,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def eve(client: AsyncClient) -> Person:
    return Person(client, "eve@example.org")


async def sign_up(person: Person, mail: str, password: str = PASSWORD, **headers: str) -> Response:
    body = {"mail": mail, "password": password, **AGREED}
    return await person.post("/auth/sign-up", body, **headers)


async def verify(person: Person, token: str, password: str = PASSWORD) -> Response:
    return await person.post("/auth/verify", {"token": token, "password": password})


async def test_a_stranger_cannot_tell_whether_an_address_has_an_account(
    ada: Person, eve: Person, mailbox: Mailbox
) -> None:
    known, unknown = await sign_up(eve, ada.mail), await sign_up(eve, "nobody@example.org")
    assert (known.status_code, known.json()) == (unknown.status_code, unknown.json())
    assert (await mailbox.subjects(ada.mail))[-1] == "You already have an account"
    assert await mailbox.subjects("nobody@example.org") == ["Confirm your mail address"]


async def test_there_is_no_account_before_the_mail_is_answered(
    eve: Person, mailbox: Mailbox
) -> None:
    await sign_up(eve, eve.mail)
    assert code_of(await eve.log_in()) == "wrong_credentials"
    assert (await verify(eve, await mailbox.token(eve.mail))).status_code == 204
    assert (await eve.log_in()).status_code == 200


@pytest.mark.usefixtures("at_once")
async def test_sign_ups_at_the_same_moment_make_one_account(eve: Person, mailbox: Mailbox) -> None:
    answers = await asyncio.gather(*(sign_up(eve, eve.mail) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    tokens = [mail.text.partition("#")[2].split()[0] for mail in await mailbox.to(eve.mail)]
    assert len(set(tokens)) == 5
    verified = await asyncio.gather(*(verify(eve, token) for token in tokens))
    assert sorted(answer.status_code for answer in verified) == [204, 403, 403, 403, 403]
    assert (await eve.log_in()).status_code == 200


async def test_nobody_waits_with_their_password_on_the_address_of_somebody_else(
    eve: Person, mailbox: Mailbox
) -> None:
    await sign_up(eve, "victim@example.org", OTHER_PASSWORD)
    await sign_up(eve, "victim@example.org", PASSWORD)
    victim = Person(eve.client, "victim@example.org")
    assert (await verify(victim, await mailbox.token(victim.mail))).status_code == 204
    assert (await victim.log_in(OTHER_PASSWORD)).status_code == 401
    assert (await victim.log_in(PASSWORD)).status_code == 200


async def test_who_opens_the_mail_of_a_strangers_sign_up_does_not_make_an_account_with_their_password(
    eve: Person, mailbox: Mailbox
) -> None:
    victim = Person(eve.client, "victim@example.org")
    await sign_up(victim, victim.mail, PASSWORD)
    own = await mailbox.token(victim.mail)
    await sign_up(eve, victim.mail, OTHER_PASSWORD)
    strangers = await mailbox.token(victim.mail)
    refused = await verify(victim, strangers)
    assert (refused.status_code, code_of(refused)) == (403, "other_sign_up")
    assert (await verify(victim, own)).status_code == 204
    # The stranger's is of an address that has an account by now, also for who has both mail and password.
    assert code_of(await verify(eve, strangers, OTHER_PASSWORD)) == "link_over"
    assert (
        await eve.post("/auth/login", {"mail": victim.mail, "password": OTHER_PASSWORD})
    ).status_code == 401


async def test_a_link_is_good_once_and_for_a_day(
    eve: Person, mailbox: Mailbox, clock: Hands
) -> None:
    await sign_up(eve, eve.mail)
    token = await mailbox.token(eve.mail)
    clock.forward(hours=24)
    assert code_of(await verify(eve, token)) == "link_over"
    await sign_up(eve, eve.mail)
    token = await mailbox.token(eve.mail)
    assert (await verify(eve, token)).status_code == 204
    assert code_of(await verify(eve, token)) == "link_over"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"mail": "eve@example.org", "password": "short"}, "weak_password"),
        ({"mail": "eve@example.org", "password": "password1234"}, "weak_password"),
        ({"mail": "evelyn@example.org", "password": "evelyn and nine horses"}, "weak_password"),
        ({"mail": "no address", "password": PASSWORD}, "invalid_mail_address"),
        ({"mail": "eve@example.org"}, "invalid"),
        ({"mail": "eve@example.org", "password": PASSWORD, "role": "admin"}, "invalid"),
        ({"mail": "eve@example.org", "password": PASSWORD, "name": "a\x00b"}, "invalid"),
        ({"mail": "eve@example.org", "password": PASSWORD, "name": "a\n"}, "invalid"),
        ({"mail": "eve@example.org", "password": PASSWORD, "name": "a\u202eb"}, "invalid"),
        ({"mail": "eve@example.org", "password": PASSWORD, "language": "../de"}, "invalid"),
        ({"mail": "eve@example.org", "password": PASSWORD, "language": "de\n"}, "invalid"),
        ({"mail": ["eve@example.org"], "password": PASSWORD}, "invalid"),
    ],
    ids=str,
)
async def test_what_cannot_be_used_is_refused_and_no_mail_is_written(
    eve: Person, mailbox: Mailbox, body: dict[str, object], code: str
) -> None:
    answer = await eve.post("/auth/sign-up", AGREED | body)
    assert (answer.status_code, code_of(answer)) == (400, code)
    assert await mailbox.to("eve@example.org") == []


async def test_a_refusal_never_repeats_the_password(eve: Person) -> None:
    answer = await sign_up(eve, eve.mail, "iloveyou1234")
    assert "iloveyou" not in answer.text


async def test_a_sign_up_sent_twice_with_one_key_is_one_sign_up(
    eve: Person, mailbox: Mailbox
) -> None:
    for _ in range(2):
        answer = await sign_up(eve, eve.mail, idempotency_key="0123456789abcdef")
        assert answer.status_code == 202
    assert len(await mailbox.to(eve.mail)) == 1


async def test_nobody_fills_the_mailbox_of_somebody_else_through_us(
    eve: Person, mailbox: Mailbox
) -> None:
    answers = [await sign_up(eve, "victim@example.org") for _ in range(14)]
    assert {answer.status_code for answer in answers} == {202}
    assert len(await mailbox.to("victim@example.org")) == 11


async def test_a_refusal_is_said_in_the_language_of_who_asks(eve: Person) -> None:
    answer = await sign_up(eve, eve.mail, "short", accept_language="de-CH, en;q=0.5")
    assert answer.json()["localized_detail"].startswith("Dieses Passwort")


async def test_a_mail_is_written_in_the_language_of_who_signs_up(
    eve: Person, mailbox: Mailbox
) -> None:
    await sign_up(eve, eve.mail, accept_language="fr")
    (subject,) = await mailbox.subjects(eve.mail)
    assert subject != "Confirm your mail address"


async def test_a_person_changes_their_name_and_nobody_overwrites_unseen(
    signed_up: SignedUp,
) -> None:
    ada = await signed_up("ada@example.org")
    tag = (await ada.get("/account")).headers["etag"]
    changed = await ada.patch("/account", {"name": "Ada", "language": "de"}, if_match=tag)
    assert (changed.json()["name"], changed.json()["language"]) == ("Ada", "de")
    assert (await ada.patch("/account", {"name": "Eve"}, if_match=tag)).status_code == 412
    assert (await ada.patch("/account", {"name": "Eve"})).status_code in (409, 428)
    fresh = changed.headers["etag"]
    assert (await ada.patch("/account", {"name": None}, if_match=fresh)).json()["name"] is None


@pytest.mark.usefixtures("at_once")
async def test_of_edits_at_the_same_moment_one_is_made(ada: Person) -> None:
    tag = (await ada.get("/account")).headers["etag"]
    names = ["Ada", "Eve", "Kim", "Lee", "Mo", "Zoe"]
    answers = await asyncio.gather(
        *(ada.patch("/account", {"name": name}, if_match=tag) for name in names)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]


async def test_what_somebody_agreed_to_is_kept_from_the_moment_they_signed_up(
    eve: Person, mailbox: Mailbox, deps: Deps, clock: Hands
) -> None:
    await sign_up(eve, eve.mail)
    signed_up_at = clock()
    token = await mailbox.token(eve.mail)
    clock.forward(hours=2)
    assert (await verify(eve, token)).status_code == 204
    await eve.log_in()
    await drain(deps)
    found = (await eve.get("/account/consents")).json()
    assert {each["kind"]: each["version"] for each in found} == AGREED
    assert {datetime.fromisoformat(each["given_at"]) for each in found} == {signed_up_at}
    audit = (await eve.get("/account/audit")).json()["items"]
    assert [each["action"] for each in audit].count("consent.given") == 2


@pytest.mark.parametrize("field", ["terms", "privacy"])
@pytest.mark.parametrize("version", ["1999-01-01", None])
async def test_nobody_signs_up_without_agreeing_to_the_texts_that_count(
    eve: Person, mailbox: Mailbox, field: str, version: str | None
) -> None:
    body = {"mail": eve.mail, "password": PASSWORD, **AGREED, field: version}
    body = {name: value for name, value in body.items() if value is not None}
    answer = await eve.post("/auth/sign-up", body, accept_language="de")
    assert answer.status_code == 400
    (problem,) = answer.json()["errors"]
    assert (problem["source"], problem["field"]) == ("body", field)
    if version is not None:
        assert code_of(answer) == "agreement_unknown"
        assert AGREED[field] in problem["message"]
        assert answer.json()["localized_detail"].startswith("Einer solchen Fassung")
    assert await mailbox.to(eve.mail) == []
