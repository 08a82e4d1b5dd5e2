"""Typed codes: right for a minute and a half, and once."""

from datetime import timedelta

import pyotp
import pytest

from cloud_api.accounts.factors.rules import (
    RECOVERY_CODES,
    new_recovery_codes,
    new_totp_secret,
    recovery_digest,
    totp_step,
    totp_uri,
)
from tests.cloud_api.accounts.people import NOON

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
STEP = int(NOON.timestamp()) // 30


def code(steps: int = 0) -> str:
    return pyotp.TOTP(SECRET).at(NOON + timedelta(seconds=30 * steps))


@pytest.mark.parametrize(("steps", "found"), [(-2, None), (-1, -1), (0, 0), (1, 1), (2, None)])
def test_a_code_is_good_one_step_around(steps: int, found: int | None) -> None:
    expected = None if found is None else STEP + found
    assert totp_step(SECRET, code(steps), now=NOON, last_step=None) == expected


def test_a_code_is_good_once_and_so_is_none_before_it() -> None:
    assert totp_step(SECRET, code(), now=NOON, last_step=STEP) is None
    assert totp_step(SECRET, code(-1), now=NOON, last_step=STEP) is None
    assert totp_step(SECRET, code(1), now=NOON, last_step=STEP) == STEP + 1


@pytest.mark.parametrize(
    "typed", ["", "12345", "1234567", "abcdef", "１２３４５６", "-12345", "12 34 5"]
)
def test_what_is_no_code_is_wrong(typed: str) -> None:
    assert totp_step(SECRET, typed, now=NOON, last_step=None) is None


def test_a_code_may_be_typed_in_two_halves() -> None:
    assert totp_step(SECRET, f"{code()[:3]} {code()[3:]}", now=NOON, last_step=None) == STEP


def test_the_code_of_rfc_6238_is_known() -> None:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", its appendix B
    moment = NOON.fromtimestamp(1111111109, NOON.tzinfo)
    assert totp_step(secret, "081804", now=moment, last_step=None) == 1111111109 // 30


def test_an_app_reads_who_issued_the_secret() -> None:
    uri = totp_uri(new_totp_secret(), "ada@example.org")
    assert uri.startswith("otpauth://totp/Sunaiva:ada%40example.org?secret=")
    assert pyotp.parse_uri(uri).issuer == "Sunaiva"


def test_recovery_codes_differ_and_are_known_however_they_are_typed() -> None:
    codes = new_recovery_codes()
    assert len({recovery_digest(each) for each in codes}) == RECOVERY_CODES
    assert recovery_digest(codes[0].lower().replace("-", " ")) == recovery_digest(codes[0])
    assert all(len(each) == 19 for each in codes)
