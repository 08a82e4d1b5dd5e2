"""Times in words, seen from a Wednesday and from the edges of the calendar."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.when import MONTHS, Span, dates_in, parse_as_of, parse_moment, parse_span
from shared.clock import whole_milliseconds
from shared.errors import InvalidError

NOW = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)  # a Wednesday


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(question: str) -> list[Span]:
    return [found.span for found in dates_in(question, now=NOW)]


def span(since: str | None, until: str | None) -> Span:
    return Span(day(since) if since else None, day(until) if until else None)


UNDERSTOOD = {
    "2023": ("2023-01-01", "2024-01-01"),
    "2023-05": ("2023-05-01", "2023-06-01"),
    "2023-12": ("2023-12-01", "2024-01-01"),
    "2023-05-08": ("2023-05-08", "2023-05-09"),
    "20230508": ("2023-05-08", "2023-05-09"),
    "2023-W19": ("2023-05-08", "2023-05-15"),
    "2023-w19-2": ("2023-05-09", "2023-05-10"),
    "8 May 2023": ("2023-05-08", "2023-05-09"),
    "8th of may, 2023": ("2023-05-08", "2023-05-09"),
    "May 8, 2023": ("2023-05-08", "2023-05-09"),
    "Sept 1st 2023": ("2023-09-01", "2023-09-02"),
    "29 Feb 2024": ("2024-02-29", "2024-03-01"),
    "May 2023": ("2023-05-01", "2023-06-01"),
    "dec. 2023": ("2023-12-01", "2024-01-01"),
    "  TODAY ": ("2026-03-18", "2026-03-19"),
    "yesterday": ("2026-03-17", "2026-03-18"),
    "tomorrow": ("2026-03-19", "2026-03-20"),
    "this week": ("2026-03-16", "2026-03-23"),
    "last week": ("2026-03-09", "2026-03-16"),
    "next  week": ("2026-03-23", "2026-03-30"),
    "this month": ("2026-03-01", "2026-04-01"),
    "last month": ("2026-02-01", "2026-03-01"),
    "next month": ("2026-04-01", "2026-05-01"),
    "this year": ("2026-01-01", "2027-01-01"),
    "last year": ("2025-01-01", "2026-01-01"),
    "next year": ("2027-01-01", "2028-01-01"),
    "recently": ("2026-03-04", None),
    "3 days ago": ("2026-03-15", "2026-03-16"),
    "0 days ago": ("2026-03-18", "2026-03-19"),
    "two weeks ago": ("2026-03-02", "2026-03-09"),
    "a week ago": ("2026-03-09", "2026-03-16"),
    "a month ago": ("2026-02-01", "2026-03-01"),
    "about 3 months ago": ("2025-12-01", "2026-01-01"),
    "a few days ago": ("2026-03-15", "2026-03-16"),
    "a couple of years ago": ("2024-01-01", "2025-01-01"),
    "999 years ago": ("1027-01-01", "1028-01-01"),
    "last 3 days": ("2026-03-15", None),
    "the past two weeks": ("2026-03-04", None),
    "past 1 month": ("2026-02-18", None),
    "last 10 years": ("2016-03-18", None),
    "monday": ("2026-03-16", "2026-03-17"),
    "on wednesday": ("2026-03-18", "2026-03-19"),
    "last wednesday": ("2026-03-11", "2026-03-12"),
    "thursday": ("2026-03-12", "2026-03-13"),
    "march": ("2026-03-01", "2026-04-01"),
    "last march": ("2025-03-01", "2025-04-01"),
    "in april": ("2025-04-01", "2025-05-01"),
    "last feb": ("2026-02-01", "2026-03-01"),
    "spring": ("2026-03-01", "2026-06-01"),
    "last spring": ("2025-03-01", "2025-06-01"),
    "summer": ("2025-06-01", "2025-09-01"),
    "last fall": ("2025-09-01", "2025-12-01"),
    "winter": ("2025-12-01", "2026-03-01"),
    "2023-01-01..2023-03-31": ("2023-01-01", "2023-04-01"),
    "2023 .. 2024": ("2023-01-01", "2025-01-01"),
    "2023..": ("2023-01-01", None),
    "..2023": (None, "2024-01-01"),
    "last year..today": ("2025-01-01", "2026-03-19"),
    "spring 2025": ("2025-03-01", "2025-06-01"),
    "in the summer of 2024": ("2024-06-01", "2024-09-01"),
    "winter 2025": ("2025-12-01", "2026-03-01"),
    "winter 2026": ("2025-12-01", "2026-03-01"),
    "in the last two weeks": ("2026-03-04", None),
    "during last week": ("2026-03-09", "2026-03-16"),
    "in 2023": ("2023-01-01", "2024-01-01"),
    "on 8 May 2023": ("2023-05-08", "2023-05-09"),
    "in the spring": ("2026-03-01", "2026-06-01"),
    "since 2024": ("2024-01-01", None),
    "since last week": ("2026-03-09", None),
    "after 2024": ("2025-01-01", None),
    "before May 2023": (None, "2023-05-01"),
    "until yesterday": (None, "2026-03-18"),
}


@pytest.mark.parametrize(("said", "expected"), UNDERSTOOD.items(), ids=UNDERSTOOD)
def test_a_time_in_words_is_the_span_that_people_mean(
    said: str, expected: tuple[str | None, str | None]
) -> None:
    assert parse_span(said, now=NOW) == span(*expected)


WINTERS = {
    "2026-12-15": ("winter", "2026-12-01", "2027-03-01"),
    "2027-01-15": ("winter", "2026-12-01", "2027-03-01"),
    "2026-11-30": ("winter", "2025-12-01", "2026-03-01"),
    "2026-12-16": ("last winter", "2025-12-01", "2026-03-01"),
    "2027-01-16": ("last winter", "2025-12-01", "2026-03-01"),
    "2027-03-01": ("last winter", "2026-12-01", "2027-03-01"),
}


@pytest.mark.parametrize(("today", "expected"), WINTERS.items(), ids=WINTERS)
def test_winter_is_the_latest_that_has_begun_and_last_winter_the_latest_that_is_over(
    today: str, expected: tuple[str, str, str]
) -> None:
    said, since, until = expected
    assert parse_span(said, now=day(today)) == span(since, until)


def test_the_31st_is_the_last_day_of_a_shorter_month() -> None:
    assert parse_span("last 1 month", now=day("2026-03-31")) == span("2026-02-28", None)
    assert parse_span("last 1 year", now=day("2024-02-29")) == span("2023-02-28", None)
    assert parse_span("last 4 months", now=day("2026-03-31")) == span("2025-11-30", None)


def test_an_instant_is_a_span_of_one_millisecond() -> None:
    moment = datetime(2023, 5, 8, 12, 30, tzinfo=UTC)
    for said in ("2023-05-08T12:30:00Z", "2023-05-08t14:30+02:00", "2023-05-08 12:30"):
        assert parse_span(said, now=NOW) == Span(moment, moment + timedelta(milliseconds=1))


NOT_UNDERSTOOD = [
    "", " ", "..", "...", "whenever", "31 Feb 2023", "2023-13", "2023-02-30", "0000", "9999", "9999-12-31",
    "9999-12-31T23:59:59.999Z", "0001-01-01T00:00+14:00", "2023..2024..2025", "2023..soon", "soon..2023", "since",
    "since ", "since since 2023", "before 2023..2024", "after recently", "1000 days ago",
    "many days ago", "last many days", "marketing", "decided", "last", "in", "2023-W60", "20231301", "３ days ago",
    "in the", "spring 9999x", "winter 0000", "since " * 5_000, ".." * 5_000, "5" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("said", NOT_UNDERSTOOD, ids=lambda said: repr(said[:30]))
def test_what_is_no_time_is_refused_with_examples(said: str) -> None:
    with pytest.raises(InvalidError, match="Examples: 2023-05"):
        parse_span(said, now=NOW)


@pytest.mark.parametrize("said", ["2024..2023", "2023-05-08..2023-05-07", "today..last week"])
def test_a_span_that_ends_before_it_begins_is_refused(said: str) -> None:
    with pytest.raises(InvalidError, match="ends before it begins"):
        parse_span(said, now=NOW)


words = st.sampled_from(
    "since before .. last next this two 3 days weeks months years ago monday may spring 2023 2023-05 today a".split()
)


@given(said=st.text() | st.lists(words, max_size=6).map(" ".join), now=st.datetimes(
    min_value=datetime(1100, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001
))  # fmt: skip
def test_any_text_is_a_span_with_a_beginning_before_its_end_or_refused(
    said: str, now: datetime
) -> None:
    try:
        found = parse_span(said, now=now)
    except InvalidError:
        return
    assert found.since is not None or found.until is not None
    if found.since is not None and found.until is not None:
        assert found.since < found.until


@given(st.dates(min_value=datetime(1000, 1, 1).date(), max_value=datetime(9998, 12, 31).date()))  # noqa: DTZ001
def test_every_way_to_write_a_day_is_the_same_day(date: object) -> None:
    first = datetime.fromisoformat(f"{date}").replace(tzinfo=UTC)
    whole = Span(first, first + timedelta(days=1))
    name = MONTHS[first.month - 1]
    for said in (
        first.strftime("%Y-%m-%d"),
        first.strftime("%Y%m%d"),
        f"{first.day} {name} {first.year:04}",
        f"{name[:3].upper()} {first.day}, {first.year:04}",
    ):
        assert parse_span(said, now=NOW) == whole
        assert said.isdigit() or times(f"What was said on {said}?") == [whole]


@given(st.datetimes(timezones=st.just(UTC)).map(whole_milliseconds))
def test_a_moment_is_read_as_it_was_written(moment: datetime) -> None:
    assert parse_moment(moment.isoformat()) == moment


def test_a_moment_may_be_short_and_naive() -> None:
    assert parse_moment(" 2023-05 ") == day("2023-05-01")
    assert parse_moment("2023") == day("2023-01-01")
    assert parse_moment("2023-05-08") == day("2023-05-08")
    assert parse_moment("2023-05-08T10:00") == day("2023-05-08T10:00")
    assert parse_moment("2023-05-08T10:00:00.123456+02:00") == datetime(
        2023, 5, 8, 10, 0, 0, 123_000, timezone(timedelta(hours=2))
    )


AS_OF = {
    "2026-03-18": "2026-03-18T23:59:59.999",
    "yesterday": "2026-03-17T23:59:59.999",
    "last spring": "2025-05-31T23:59:59.999",
    "2025": "2025-12-31T23:59:59.999",
    "before 2025": "2024-12-31T23:59:59.999",
    "since 2025": "2026-03-18T15:30",
    "2026-03-18T10:00:00Z": "2026-03-18T10:00",
    "2026-03-18 12:00+02:00": "2026-03-18T10:00",
}


@pytest.mark.parametrize(("said", "expected"), AS_OF.items(), ids=AS_OF)
def test_as_of_a_time_is_as_of_its_end(said: str, expected: str) -> None:
    assert parse_as_of(said, now=NOW) == day(expected)


@pytest.mark.parametrize("said", ["", "yesterday", "2023-13", "0001-01-01T00:00+14:00", "x" * 500])
def test_what_is_no_moment_is_refused_with_an_example(said: str) -> None:
    with pytest.raises(InvalidError, match="2023-05-08T14:30:00Z"):
        parse_moment(said)


DATES = {
    "What did Ann say on 8 May 2023?": [("2023-05-08", "2023-05-09")],
    "between 2023-05 and June 3rd, 2024": [("2023-05-01", "2023-06-01"), ("2024-06-03", "2024-06-04")],
    "in 1999, or May 2023": [("2023-05-01", "2023-06-01"), ("1999-01-01", "2000-01-01")],
    "at 2023-05-08T14:30": [("2023-05-08", "2023-05-09")],
    "31 February 2023": [],
    "until 9999-12-31": [],
    "marketing 2023, decided 2024": [("2023-01-01", "2024-01-01"), ("2024-01-01", "2025-01-01")],
    "call 5551999 or room 20231": [],
    "last week": [("2026-03-09", "2026-03-16")],
    "What did I do last spring, and in autumn 2024?": [("2024-09-01", "2024-12-01"), ("2025-03-01", "2025-06-01")],
    "Where was I on 8 May 2023, yesterday or a few days ago?": [
        ("2023-05-08", "2023-05-09"), ("2026-03-17", "2026-03-18"), ("2026-03-15", "2026-03-16"),
    ],
    "in May, last monday": [("2025-05-01", "2025-06-01"), ("2026-03-16", "2026-03-17")],
    "May I fall in spring, or march recently?": [],
    "the last time, ages ago, at last": [],
    "": [],
}  # fmt: skip


@pytest.mark.parametrize(("question", "expected"), DATES.items(), ids=DATES)
def test_the_dates_that_a_question_names(question: str, expected: list[tuple[str, str]]) -> None:
    assert times(question) == [span(*each) for each in expected]


@given(
    st.text(st.sampled_from("0123456789- mayofMAY,.")) | st.lists(words, max_size=8).map(" ".join)
)
def test_no_question_is_too_odd_for_its_dates(question: str) -> None:
    for found in times(question):
        assert found.since is not None
        assert found.until is not None
        assert found.since < found.until
