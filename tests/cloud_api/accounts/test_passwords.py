"""Which passwords are refused, and what is kept of those that are not."""

import asyncio
import time
from random import Random

import pytest

from cloud_api.accounts.passwords.hashing import (
    WAITING_MAX,
    PasswordHasher,
    TooManyLoginsError,
)
from cloud_api.accounts.passwords.rules import PASSWORD_CHARS_MAX, Weakness, weakness
from shared import crypto
from tests.cloud_api.accounts.people import OTHER_PASSWORD, PASSWORD


@pytest.mark.parametrize(
    "password", [PASSWORD, OTHER_PASSWORD, "mvq8-Zt2r-kkp1-0xQa", "ünïcödé wörds för evér"]
)
def test_a_good_password_is_taken(password: str) -> None:
    assert weakness(password, ["ada@example.org", "Ada Lovelace"]) is None


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "too_short"),
        ("x7!kQp2#vZ9", "too_short"),
        ("a" * (PASSWORD_CHARS_MAX + 1), "too_long"),
        ("\ud800" * 12, "not_text"),
        ("aaaaaaaaaaaa", "guessable"),
        ("abcabcabcabcabc", "guessable"),
        ("lovelace rides nine horses", "own_words"),
        ("Ada.Love@Example.org!", "own_words"),
    ],
)
def test_a_bad_password_is_refused_with_its_reason(password: str, reason: Weakness) -> None:
    assert weakness(password, ["ada.love@example.org", "Ada Lovelace"]) == reason


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "qwertyuiop12",
        "iloveyou1234",
        "1q2w3e4r5t6y",
        "unbelievable",
        "PASSWORD1234",
        "p@ssw0rd1234",
    ],
)
def test_a_password_from_the_lists_of_leaked_ones_is_refused(password: str) -> None:
    assert weakness(password, []) in ("known", "guessable")


def test_the_longest_password_is_judged_at_once() -> None:
    assert weakness("x9!k vmqz" * 110, []) is None


def test_a_kept_hash_fits_its_password_only() -> None:
    kept = crypto.login_hash(PASSWORD)
    assert crypto.login_hash_fits(PASSWORD, kept)
    assert not crypto.login_hash_fits(OTHER_PASSWORD, kept)
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert kept != crypto.login_hash(PASSWORD)


def test_a_hash_made_at_another_cost_still_fits_and_is_known_for_old() -> None:
    # Salt "somesalt", from the test vectors of the reference implementation (m=256 KiB, t=2, p=1).
    old = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
    assert crypto.login_hash_fits("password", old)
    assert not crypto.login_hash_is_current(old)
    assert crypto.login_hash_is_current(crypto.login_hash(PASSWORD))


@pytest.fixture
def hasher() -> PasswordHasher:
    return PasswordHasher(1)


def test_the_same_characters_from_another_keyboard_are_the_same_password(
    hasher: PasswordHasher,
) -> None:
    async def typed_twice() -> bool:
        return await hasher.fits("cafe\u0301 au lait", await hasher.hash("caf\u00e9 au lait"))

    assert asyncio.run(typed_twice())
    hasher.close()


def test_without_an_account_nothing_fits(hasher: PasswordHasher) -> None:
    assert not asyncio.run(hasher.fits("nobody's password", None))
    hasher.close()


def test_a_storm_of_logins_is_told_to_come_back(hasher: PasswordHasher) -> None:
    async def storm() -> list[bool | BaseException]:
        tries = (hasher.fits(PASSWORD, None) for _ in range(WAITING_MAX + 5))
        return list(await asyncio.gather(*tries, return_exceptions=True))

    outcomes = asyncio.run(storm())
    assert sum(isinstance(outcome, TooManyLoginsError) for outcome in outcomes) == 5
    assert outcomes.count(False) == WAITING_MAX
    hasher.close()


def test_no_password_takes_long_to_judge() -> None:
    made_for_it = Random(1).choices("4@8({[</369&#!1/|0$5+7%2xz", k=1024)
    begun = time.thread_time()
    weakness("".join(made_for_it), ["ada@example.org"])
    # A tenth of what its first hundred characters take.
    assert time.thread_time() - begun < 0.5
