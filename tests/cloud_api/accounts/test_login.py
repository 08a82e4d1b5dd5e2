"""Logging in with a password: for its owner, and against everybody else."""

import time

import pytest
from httpx import Response

from cloud_api.accounts.throttles.actions import throttle_key
from cloud_api.accounts.throttles.rules import POLICIES, Count
from cloud_api.accounts.throttles.store import keep
from cloud_api.deps import Deps
from shared import crypto
from tests.cloud_api.accounts.people import (
    OTHER_PASSWORD,
    PASSWORD,
    Hands,
    Mailbox,
    Person,
    code_of,
)

pytestmark = pytest.mark.anyio

# The reference implementation's vector for "password", at a cost that was never ours.
CHEAP = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"


async def guess(person: Person, mail: str, times: int) -> Response:
    stranger = Person(person.client, mail)
    answers = [await stranger.log_in(OTHER_PASSWORD) for _ in range(times)]
    return answers[-1]


async def forget_where(ada: Person, deps: Deps) -> None:
    """As if the account had never been used from the network of these tests."""
    me = (await ada.get("/account")).json()["id"]
    async with deps.db.transaction(me) as connection:
        await connection.execute("UPDATE sessions SET network = '198.51.100.0/24'")


async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(ada: Person) -> None:
    wrong = await guess(ada, ada.mail, 1)
    unknown = await guess(ada, "nobody@example.org", 1)
    hidden = {"request_id"}
    assert wrong.status_code == unknown.status_code == 401
    assert {k: v for k, v in wrong.json().items() if k not in hidden} == {
        k: v for k, v in unknown.json().items() if k not in hidden
    }


async def test_a_wrong_password_and_an_unknown_address_take_alike_long(ada: Person) -> None:
    spent: dict[str, list[float]] = {ada.mail: [], "nobody@example.org": []}
    for _ in range(4):
        # In turns, and the processor's time: a busy machine is busy for both.
        for mail, times in spent.items():
            begun = time.process_time()
            await guess(ada, mail, 1)
            times.append(time.process_time() - begun)
    known, unknown = (min(times) for times in spent.values())
    # Without the hash that nobody needs, an unknown address would take a tenth.
    assert 0.4 < unknown / known < 2.5


@pytest.mark.parametrize("mail", ["ada@example.org", "nobody@example.org"])
async def test_guessing_is_slowed_down_whether_there_is_an_account_or_not(
    ada: Person, deps: Deps, mail: str
) -> None:
    await forget_where(ada, deps)
    assert (await guess(ada, mail, 6)).status_code == 401
    blocked = await guess(ada, mail, 1)
    assert (blocked.status_code, code_of(blocked)) == (429, "too_many_attempts")
    assert blocked.headers["retry-after"] == "2"


async def test_a_lock_ends_by_itself(ada: Person, deps: Deps, clock: Hands) -> None:
    await forget_where(ada, deps)
    await guess(ada, ada.mail, 7)
    assert (await ada.log_in()).status_code == 429
    clock.forward(seconds=2)
    assert (await ada.log_in()).status_code == 200


async def test_a_success_clears_the_count_of_its_account(ada: Person) -> None:
    for _ in range(3):
        await guess(ada, ada.mail, 4)
        assert (await ada.log_in()).status_code == 200


async def test_a_lock_that_strangers_keep_does_not_keep_the_owner_out_at_home(
    ada: Person, deps: Deps, clock: Hands
) -> None:
    await forget_where(ada, deps)
    await guess(ada, ada.mail, 7)
    assert (await ada.log_in()).status_code == 429
    me = (await ada.get("/account")).json()["id"]
    async with deps.db.transaction(me) as connection:
        await connection.execute("UPDATE sessions SET network = 'unknown'")
    assert (await ada.log_in()).status_code == 200


async def test_a_neighbour_of_the_owner_cannot_tell_by_a_lock_whether_there_is_an_account(
    ada: Person, deps: Deps
) -> None:
    await forget_where(ada, deps)
    addresses = [ada.mail, "nobody@example.org"]
    for mail in addresses:
        assert (await guess(ada, mail, 8)).status_code == 429
    me = (await ada.get("/account")).json()["id"]
    async with deps.db.transaction(me) as connection:
        await connection.execute("UPDATE sessions SET network = 'unknown'")
    known, unknown = [
        [(each.status_code, each.headers["retry-after"]) for each in answers]
        for answers in [[await guess(ada, mail, 1) for _ in range(3)] for mail in addresses]
    ]
    assert known == unknown == [(429, "2")] * 3
    assert (await ada.log_in()).status_code == 200


async def test_a_reset_by_mail_lifts_the_lock(ada: Person, deps: Deps, mailbox: Mailbox) -> None:
    await forget_where(ada, deps)
    await guess(ada, ada.mail, 7)
    await ada.post("/auth/password/forgotten", {"mail": ada.mail})
    body = {"token": await mailbox.token(ada.mail), "password": OTHER_PASSWORD}
    assert (await ada.post("/auth/password/reset", body)).status_code == 204
    assert (await ada.log_in(OTHER_PASSWORD)).status_code == 200


async def test_one_network_that_tries_many_accounts_is_slowed_down(
    ada: Person, deps: Deps, clock: Hands
) -> None:
    key = throttle_key(deps.accounts.key, "network", "unknown")
    async with deps.db.transaction() as connection:
        await keep(connection, key, "network", Count(POLICIES["network"].free, clock(), None))
    assert (await guess(ada, "a@example.org", 1)).status_code == 401
    assert code_of(await guess(ada, "b@example.org", 1)) == "too_many_attempts"


async def test_a_login_from_somewhere_new_is_told_to_the_owner(
    ada: Person, deps: Deps, mailbox: Mailbox
) -> None:
    before = await mailbox.subjects(ada.mail)
    await ada.log_in()
    assert await mailbox.subjects(ada.mail) == before
    await forget_where(ada, deps)
    await ada.log_in()
    assert (await mailbox.subjects(ada.mail))[-1] == "New sign-in to your account"


async def test_a_hash_of_a_former_cost_is_made_anew_when_its_owner_comes(
    ada: Person, deps: Deps
) -> None:
    me = (await ada.get("/account")).json()["id"]
    async with deps.db.transaction(me) as connection:
        await connection.execute("UPDATE accounts SET password_hash = %s", [CHEAP])
    assert (await ada.log_in("password")).status_code == 200
    async with deps.db.transaction(me) as connection:
        row = await (await connection.execute("SELECT password_hash FROM accounts")).fetchone()
    assert row is not None
    assert crypto.login_hash_is_current(row[0])


async def test_a_password_in_another_case_or_cut_off_is_wrong(ada: Person) -> None:
    for wrong in (PASSWORD.upper(), PASSWORD[:-1], PASSWORD + " "):
        assert (await ada.log_in(wrong)).status_code == 401


async def test_an_address_is_the_same_in_capital_letters(ada: Person) -> None:
    shouting = Person(ada.client, "ADA@Example.ORG")
    assert (await shouting.log_in()).status_code == 200
