"""Challenges: ours, for one vault, for a minute."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud_api.devices.rules import CHALLENGE_LIFE, challenge_runs_out, new_challenge

KEY, VAULT = b"k" * 32, b"v" * 16
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
GIVEN = new_challenge(KEY, VAULT, random=bytes(16), now=NOON)
MOMENT = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("key", "vault", "challenge", "now", "is_good"),
    [
        (KEY, VAULT, GIVEN, NOON, True),
        (KEY, VAULT, GIVEN, NOON + CHALLENGE_LIFE - MOMENT, True),
        (KEY, VAULT, GIVEN, NOON + CHALLENGE_LIFE, False),
        (KEY, VAULT, GIVEN, NOON - MOMENT, False),
        (KEY, b"w" * 16, GIVEN, NOON, False),
        (b"l" * 32, VAULT, GIVEN, NOON, False),
        (KEY, VAULT, bytes([GIVEN[0] ^ 1]) + GIVEN[1:], NOON, False),
        (KEY, VAULT, GIVEN[:23] + bytes([GIVEN[23] ^ 128]) + GIVEN[24:], NOON, False),
        (KEY, VAULT, GIVEN[:-1], NOON, False),
        (KEY, VAULT, b"", NOON, False),
    ],
    ids=[
        "at once",
        "at the last moment",
        "over",
        "before it was given",
        "of another vault",
        "of another server",
        "altered",
        "made longer",
        "cut short",
        "none",
    ],
)
def test_a_challenge_is_good_for_what_it_was_given(
    key: bytes, vault: bytes, challenge: bytes, now: datetime, is_good: bool
) -> None:
    found = challenge_runs_out(key, vault, challenge, now=now)
    assert (found is not None) is is_good
    assert found is None or found == NOON + CHALLENGE_LIFE
