"""How long somebody waits after how many failures."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_api.accounts.throttles.rules import (
    POLICIES,
    Blocked,
    Count,
    Policy,
    attempt,
    wait_after,
)
from tests.cloud_api.accounts.people import NOON

POLICY = Policy(3, timedelta(seconds=2), timedelta(seconds=60), timedelta(hours=1))


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (3, 0), (4, 2), (5, 4), (8, 32), (9, 60), (1_000_000, 60)]
)
def test_each_failure_past_the_free_ones_doubles_the_wait(failures: int, seconds: int) -> None:
    assert wait_after(POLICY, failures) == timedelta(seconds=seconds)


def test_an_attempt_before_its_time_is_refused_and_not_counted() -> None:
    blocked = NOON + timedelta(seconds=2)
    assert attempt(POLICY, Count(4, NOON, blocked), NOON) == Blocked(blocked)
    assert attempt(POLICY, Count(4, NOON, blocked), blocked) == Count(
        5, blocked, blocked + timedelta(seconds=4)
    )


def test_after_a_quiet_time_counting_begins_anew() -> None:
    later = NOON + POLICY.forgotten_after
    assert attempt(POLICY, Count(90, NOON, NOON + timedelta(days=9)), later) == Count(
        1, later, None
    )


@given(st.sampled_from(sorted(POLICIES)), st.lists(st.integers(0, 4000), min_size=1, max_size=60))
def test_nobody_ever_waits_longer_than_the_longest_wait(scope: str, pauses: list[int]) -> None:
    policy = POLICIES[scope]  # type: ignore[index] # a key of it
    count, now = None, NOON
    for pause in pauses:
        now += timedelta(seconds=pause)
        outcome = attempt(policy, count, now)
        if isinstance(outcome, Blocked):
            assert now < outcome.until <= now + policy.longest
        else:
            count = outcome
