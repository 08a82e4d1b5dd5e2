"""What a terminal is told that asks whether it was approved."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from cloud_api.accounts.grants.rules import (
    GRANT_LIFE,
    POLL_INTERVAL,
    POLL_INTERVAL_MAX,
    USER_CODE_LETTERS,
    Answer,
    Approved,
    Denied,
    Expired,
    Grant,
    Pending,
    SlowDown,
    new_user_code,
    on_poll,
    typed_user_code,
)
from tests.cloud_api.accounts.people import NOON

FRESH = Grant(
    expires_at=NOON + GRANT_LIFE,
    interval=POLL_INTERVAL,
    polled_at=None,
    approved=None,
    redeemed_at=None,
)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("grant", "answer"),
    [
        (FRESH, Pending()),
        (replace(FRESH, approved=True), Approved()),
        (replace(FRESH, approved=False), Denied()),
        (replace(FRESH, polled_at=NOON - 4 * SECOND), SlowDown(POLL_INTERVAL + 5 * SECOND)),
        (replace(FRESH, polled_at=NOON - 5 * SECOND), Pending()),
        (replace(FRESH, polled_at=NOON - SECOND, approved=True), SlowDown(10 * SECOND)),
        (replace(FRESH, polled_at=NOON, interval=POLL_INTERVAL_MAX), SlowDown(POLL_INTERVAL_MAX)),
        (replace(FRESH, expires_at=NOON, approved=True), Expired()),
        (replace(FRESH, redeemed_at=NOON, approved=True), Expired()),
    ],
)
def test_a_terminal_is_answered_by_where_its_grant_stands(grant: Grant, answer: Answer) -> None:
    assert on_poll(grant, NOON) == answer


def test_a_user_code_spells_no_word_and_is_read_however_it_is_typed() -> None:
    code = new_user_code()
    assert set(code) <= {*USER_CODE_LETTERS, "-"}
    assert typed_user_code(f" {code.lower().replace('-', ' ')} ") == code.replace("-", "")


@pytest.mark.parametrize("text", ["", "BCDF-GHJ", "BCDF-GHJKL", "AEIO-UAEI", "1234-5678"])
def test_what_no_code_looks_like_is_none(text: str) -> None:
    assert typed_user_code(text) is None
