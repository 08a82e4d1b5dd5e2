from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from shared.clock import from_ms, system_clock, to_ms, whole_milliseconds

INSTANTS = st.datetimes(
    # Hypothesis wants the bounds naive and adds the zone.
    min_value=datetime(2, 1, 1),  # noqa: DTZ001
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=st.timezones(),
)
MILLISECONDS = st.integers(
    to_ms(datetime(2, 1, 1, tzinfo=UTC)), to_ms(datetime(9998, 1, 1, tzinfo=UTC))
)


@given(MILLISECONDS)
def test_milliseconds_survive_the_way_to_a_datetime_and_back(milliseconds: int) -> None:
    assert to_ms(from_ms(milliseconds)) == milliseconds


@given(INSTANTS)
def test_an_instant_survives_to_the_millisecond(moment: datetime) -> None:
    lost = moment.astimezone(UTC) - from_ms(to_ms(moment))
    assert timedelta(0) <= lost < timedelta(milliseconds=1)


@given(INSTANTS)
def test_cutting_to_milliseconds_is_idempotent_and_gives_utc(moment: datetime) -> None:
    cut = whole_milliseconds(moment)
    assert cut.tzinfo is UTC
    assert cut.microsecond % 1000 == 0
    assert whole_milliseconds(cut) == cut


@given(INSTANTS, INSTANTS)
def test_order_in_milliseconds_is_order_in_time(earlier: datetime, later: datetime) -> None:
    a, b = sorted((earlier.astimezone(UTC), later.astimezone(UTC)))
    assert to_ms(a) <= to_ms(b)


def test_the_same_moment_in_another_zone_is_the_same_millisecond() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    noon = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    assert to_ms(noon.astimezone(kathmandu)) == to_ms(noon)


def test_a_naive_datetime_is_taken_as_utc() -> None:
    naive = datetime(2026, 11, 21, 12, 0, 0, 1999)  # noqa: DTZ001 (that is the point)
    assert whole_milliseconds(naive) == datetime(2026, 11, 21, 12, 0, 0, 1000, tzinfo=UTC)


def test_a_moment_before_1970_is_cut_towards_the_past_like_every_other() -> None:
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert to_ms(moment) == -1


def test_the_machine_is_asked_in_utc_and_whole_milliseconds() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    now = system_clock()
    assert before <= now <= datetime.now(UTC)
    assert now == whole_milliseconds(now)
    assert now.utcoffset() == timedelta(0)
