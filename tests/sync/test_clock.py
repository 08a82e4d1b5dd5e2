import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.changes.clock import (
    AHEAD_MS_MAX,
    BELIEVED_MS_MAX,
    COUNTER_BITS,
    LATEST,
    Hlc,
    beating,
    heard,
    milliseconds,
    tick,
)

TODAY_MS = 1_795_000_000_000
TEN_YEARS_MS = 315_576_000_000
anytime = st.integers(0, LATEST).map(Hlc)
skewed = st.integers(TODAY_MS - TEN_YEARS_MS, TODAY_MS + TEN_YEARS_MS)


@given(last=anytime, now_ms=st.integers(-(2**50), 2**50))
def test_what_is_written_later_has_a_later_clock_whatever_the_clock_says(
    last: Hlc, now_ms: int
) -> None:
    assert tick(last, now_ms) > last


@given(now_ms=skewed)
def test_a_clock_value_says_when_it_was_written(now_ms: int) -> None:
    assert milliseconds(tick(Hlc(0), now_ms)) == now_ms


def test_more_than_65536_operations_in_one_millisecond_borrow_from_the_next() -> None:
    hlc = tick(Hlc(0), TODAY_MS)
    for _ in range(70_000):
        later = tick(hlc, TODAY_MS)
        assert later == hlc + 1
        hlc = later
    assert milliseconds(hlc) == TODAY_MS + 1


@given(last=anytime, remote=anytime, now_ms=skewed)
def test_a_clock_from_the_far_future_is_not_followed(last: Hlc, remote: Hlc, now_ms: int) -> None:
    after = heard(last, remote, now_ms)
    assert after >= last
    assert after == last or milliseconds(after) <= now_ms + AHEAD_MS_MAX
    if milliseconds(remote) <= now_ms + AHEAD_MS_MAX:
        assert after >= remote


@given(jumps=st.lists(st.tuples(skewed, anytime), max_size=30))
def test_a_clock_that_jumps_never_goes_back_nor_beyond_what_it_once_was(
    jumps: list[tuple[int, Hlc]],
) -> None:
    last, furthest = Hlc(0), 0
    for now_ms, remote in jumps:
        furthest = max(furthest, now_ms)
        before, last = last, tick(heard(last, remote, now_ms), now_ms)
        assert last > before
        assert milliseconds(last) <= furthest + AHEAD_MS_MAX + 1


@pytest.mark.parametrize(
    "now_ms",
    [-1, BELIEVED_MS_MAX + 1, milliseconds(LATEST), 253_402_300_799_000, 2**60],
    ids=["before 1970", "2100", "2200", "9999", "no time at all"],
)
def test_a_broken_clock_is_not_believed(now_ms: int) -> None:
    last = tick(Hlc(0), TODAY_MS)
    assert tick(last, now_ms) == last + 1
    assert heard(last, LATEST, now_ms) == last


def test_there_is_room_to_beat_whatever_an_honest_device_writes() -> None:
    furthest = tick(Hlc(0), BELIEVED_MS_MAX)
    assert LATEST - furthest > 2**57


@given(hlc=anytime, seen=anytime)
def test_an_edit_beats_what_its_author_saw_and_moves_no_more_than_needed(
    hlc: Hlc, seen: Hlc
) -> None:
    beaten = beating(hlc, seen)
    assert beaten > seen
    assert beaten == hlc or (beaten == seen + 1 and hlc <= seen)


def test_the_counter_stands_below_the_milliseconds() -> None:
    assert tick(Hlc(0), 1) == 1 << COUNTER_BITS
