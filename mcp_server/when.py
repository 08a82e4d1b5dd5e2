"""Times in words: "last week", "2023-05", "8 May 2023", "since March", "2023-01-01..2023-03-31" → a span of time.

Pure; English words, ISO 8601 for everybody else. Relative words are taken from the `now` given, in UTC. A span is
half-open: [since, until). What is not understood is refused with examples, never guessed.
"""

import calendar
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

from shared.clock import whole_milliseconds
from shared.errors import InvalidError

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
_MONTH_NUMBER = {name[:3].lower(): number for number, name in enumerate(MONTHS, 1)}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Meteorological seasons of the northern hemisphere, by their first month.
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
            "nine": 9, "ten": 10, "couple": 2, "few": 3}  # fmt: skip
# Written out, so that "marketing 2023" and "decided 2023" name no month.
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?"
)


class Span(Struct, frozen=True):
    """From `since` (included) until `until` (excluded); `None` is open."""

    since: datetime | None
    until: datetime | None


class Named(Struct, frozen=True):
    """A time that a question names: "8 May 2023", "last spring"."""

    span: Span
    """With a beginning and an end."""
    said: str
    """The words for it, in lower case."""
    relative: bool
    """Counted from now. Who says "yesterday" knows which day; one written out may be off by some."""


def parse_moment(text: str) -> datetime:
    """One instant: ISO 8601, or the beginning of a span in ISO (`2023-05` is 1 May). Naive times are UTC.

    Raises:
        InvalidError: it is neither.
    """
    try:
        return whole_milliseconds(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        span = _iso_span(text.strip())
    if span is None or span.since is None:
        raise InvalidError(
            f"{text[:60]!r} is not a time. Write ISO 8601, as in 2023-05-08 or 2023-05-08T14:30:00Z."
        )
    return span.since


def parse_as_of(text: str, *, now: datetime) -> datetime:
    """The last instant of a span as `parse_span` takes it, because what held true "on that day" is what was known in the evening;
    of an instant, itself, and of a span without an end, now.

    Raises:
        InvalidError: it is not understood; the message shows what is.
    """
    until = parse_span(text, now=now).until
    return now if until is None else until - timedelta(milliseconds=1)


def parse_span(text: str, *, now: datetime) -> Span:
    """A span of time from ISO 8601, a range `a..b`, or words.

    Raises:
        InvalidError: it is not understood; the message shows what is.
    """
    words = " ".join(text.lower().split())
    span = _between(words, now) or _from_or_to(words, now) or _plain(words, now)
    if span is None or span == Span(None, None):
        raise InvalidError(
            f"{text[:60]!r} is not a time that Sunaiva understands. Examples: 2023-05, 2023-05-08, 8 May 2023, yesterday, "
            "last week, 3 months ago, last spring, spring 2026, since 2024, 2023-01-01..2023-03-31."
        )
    if span.since is not None and span.until is not None and span.until <= span.since:
        raise InvalidError(f"{text[:60]!r} ends before it begins. Turn it round.")
    return span


def _between(words: str, now: datetime) -> Span | None:
    left, dots, right = words.partition("..")
    begin, end = _plain(left.strip(), now), _plain(right.strip(), now)
    if not dots or (left and begin is None) or (right and end is None):
        return None
    return Span(begin.since if begin else None, end.until if end else None)


def _from_or_to(words: str, now: datetime) -> Span | None:
    preposition, _, rest = words.partition(" ")
    span = _plain(rest, now)
    if span is None:
        return None
    sides = {
        "since": Span(span.since, None),
        "after": Span(span.until, None),
        "before": Span(None, span.since),
        "until": Span(None, span.until),
    }
    return sides.get(preposition)


def _plain(words: str, now: datetime) -> Span | None:
    bare = _PREPOSITION.sub("", words)
    return (
        _iso_span(bare)
        or _named_date(bare)
        or _season_of_year(bare, now)
        or _relative(words, now)
        or _relative(bare, now)
    )


def dates_in(question: str, *, now: datetime) -> list[Named]:
    """The times a question names: "8 May 2023", "2023-05-08", "2023", "spring 2026", "last week", "in May"."""
    found: list[Named] = []
    rest = question.lower()
    for pattern in _IN_TEXT:
        for match in pattern.finditer(rest):
            said = " ".join(match.group().split())
            written = _iso_span(said) or _named_date(said) or _season_of_year(said, now)
            span = written or _closed(_relative(said, now), now)
            if span is not None:
                found.append(Named(span, match.group(), relative=written is None))
        rest = pattern.sub(" ", rest)
    return found


def _closed(span: Span | None, now: datetime) -> Span | None:
    """ "The last three days" end now, for whoever asks what was in them."""
    if span is None or span.until is not None:
        return span
    return Span(span.since, now + timedelta(milliseconds=1))


# What follows may be a time of day: 2023-05-08T14:30.
_ISO_IN_TEXT = re.compile(r"\b\d{4}-\d{2}(-\d{2})?(?!\d)")
_DAY_MONTH_YEAR = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH},? (\d{{4}})\b")
_MONTH_DAY_YEAR = re.compile(rf"\b{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b")
_MONTH_YEAR = re.compile(rf"\b{_MONTH},? (\d{{4}})\b")
_WEEK_OR_DAY = re.compile(r"\d{8}|\d{4}-?w\d{2}(-?\d)?", re.ASCII)
_SEASON_YEAR = re.compile(rf"\b({'|'.join(_SEASONS)})(?: of)? (\d{{4}})\b")
_YEAR = re.compile(r"\b(?:19|20)\d{2}\b")
_UNITS = "day|week|month|year"
# Only what is a time in any sentence: "fall", "may" and "recently" alone are not.
_RELATIVE_IN_TEXT = re.compile(
    r"\b(?:today|yesterday|tomorrow|next (?:week|month|year)|"
    rf"(?:last|this) (?:week|month|year|{'|'.join(_WEEKDAYS)}|{'|'.join(_SEASONS)})|(?:last|this|in) {_MONTH}|"
    rf"(?:last|past) \w+ (?:{_UNITS})s?|(?:a )?\w+(?: of)? (?:{_UNITS})s? ago)\b"
)
_IN_TEXT = (
    _ISO_IN_TEXT, _DAY_MONTH_YEAR, _MONTH_DAY_YEAR, _MONTH_YEAR, _SEASON_YEAR, _RELATIVE_IN_TEXT, _YEAR,
)  # fmt: skip
_PREPOSITION = re.compile(r"^(?:in|on|during|over|within)(?: the)? (?=.)")


def _iso_span(words: str) -> Span | None:
    parts = re.fullmatch(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", words)
    if parts:
        year, month, day = (int(part) if part else None for part in parts.groups())
        assert year is not None
        return _whole(year, month, day)
    try:
        if _WEEK_OR_DAY.fullmatch(words):
            first = date.fromisoformat(words.upper())
            start = datetime(first.year, first.month, first.day, tzinfo=UTC)
            return Span(start, start + timedelta(days=7 if len(words.replace("-", "")) == 7 else 1))
        moment = whole_milliseconds(datetime.fromisoformat(words.upper()))
        return Span(moment, moment + timedelta(milliseconds=1))
    except (ValueError, OverflowError):  # no time, or beyond the year 9999
        return None


def _named_date(words: str) -> Span | None:
    if match := _DAY_MONTH_YEAR.fullmatch(words):
        day, month, year = match.groups()
    elif match := _MONTH_DAY_YEAR.fullmatch(words):
        month, day, year = match.groups()
    elif match := _MONTH_YEAR.fullmatch(words):
        (month, year), day = match.groups(), None
    else:
        return None
    return _whole(int(year), _MONTH_NUMBER[month[:3]], int(day) if day else None)


def _season_of_year(words: str, now: datetime) -> Span | None:
    """A winter bears the year of its December, unless that is still to come: then it is the one that began the year before."""
    match = _SEASON_YEAR.fullmatch(words)
    if match is None:
        return None
    try:
        start = datetime(int(match.group(2)), _SEASONS[match.group(1)], 1, tzinfo=UTC)
        if match.group(1) == "winter" and start > now:
            start = _months_later(start, -12)
        return Span(start, _months_later(start, 3))
    except (ValueError, OverflowError):  # there is no such year
        return None


def _whole(year: int, month: int | None, day: int | None) -> Span | None:
    try:
        start = datetime(year, month or 1, day or 1, tzinfo=UTC)
        if day is not None:
            return Span(start, start + timedelta(days=1))
        return Span(start, _months_later(start, 1 if month else 12))
    except (ValueError, OverflowError):  # no such day, or its end is beyond the year 9999
        return None


def _relative(words: str, now: datetime) -> Span | None:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    monday = today - timedelta(days=today.weekday())
    fixed: dict[str, Callable[[], Span]] = {
        "today": lambda: Span(today, today + timedelta(days=1)),
        "yesterday": lambda: Span(today - timedelta(days=1), today),
        "tomorrow": lambda: Span(today + timedelta(days=1), today + timedelta(days=2)),
        "this week": lambda: Span(monday, monday + timedelta(days=7)),
        "last week": lambda: Span(monday - timedelta(days=7), monday),
        "next week": lambda: Span(monday + timedelta(days=7), monday + timedelta(days=14)),
        "this month": lambda: _month_of(today, 0),
        "last month": lambda: _month_of(today, -1),
        "next month": lambda: _month_of(today, 1),
        "this year": lambda: _whole_year(today.year),
        "last year": lambda: _whole_year(today.year - 1),
        "next year": lambda: _whole_year(today.year + 1),
        "recently": lambda: Span(today - timedelta(days=14), None),
    }
    if words in fixed:
        return fixed[words]()
    return _ago(words, today) or _last_n(words, today) or _last_named(words, today)


def _ago(words: str, today: datetime) -> Span | None:
    match = re.fullmatch(
        r"(?:about |around )?(?:a )?(\w+)(?: of)? (day|week|month|year)s? ago", words
    )
    number = _number(match.group(1)) if match else None
    if match is None or number is None:
        return None
    unit = match.group(2)
    if unit == "day":
        return Span(today - timedelta(days=number), today - timedelta(days=number - 1))
    if unit == "week":
        start = today - timedelta(days=today.weekday() + 7 * number)
        return Span(start, start + timedelta(days=7))
    return _month_of(today, -number) if unit == "month" else _whole_year(today.year - number)


def _last_n(words: str, today: datetime) -> Span | None:
    match = re.fullmatch(r"(?:the )?(?:last|past) (\w+) (day|week|month|year)s?", words)
    number = _number(match.group(1)) if match else None
    if match is None or number is None:
        return None
    days = {"day": 1, "week": 7}.get(match.group(2))
    since = (
        today - timedelta(days=days * number)
        if days
        else _months_later(today, -number * (12 if match.group(2) == "year" else 1))
    )
    return Span(since, None)


def _last_named(words: str, today: datetime) -> Span | None:
    match = re.fullmatch(r"(?:(last|this|in|on) )?(\w+)", words)
    if match is None:
        return None
    last, name = match.group(1) == "last", match.group(2)
    if name in _WEEKDAYS:
        back = (today.weekday() - _WEEKDAYS.index(name)) % 7 or (7 if last else 0)
        return Span(today - timedelta(days=back), today - timedelta(days=back - 1))
    if name in _SEASONS:
        start = datetime(today.year, _SEASONS[name], 1, tzinfo=UTC)
        return _latest(start, months=3, today=today, last=last)
    if re.fullmatch(_MONTH, name):
        start = datetime(today.year, _MONTH_NUMBER[name[:3]], 1, tzinfo=UTC)
        return _latest(start, months=1, today=today, last=last)
    return None


def _latest(start: datetime, *, months: int, today: datetime, last: bool) -> Span:
    """The latest such span that has begun; with "last", the latest that is over."""
    while start > today or (last and _months_later(start, months) > today):
        start = _months_later(start, -12)
    return Span(start, _months_later(start, months))


def _number(word: str) -> int | None:
    if word.isascii() and word.isdigit() and len(word) <= 3:
        return int(word)
    return _NUMBERS.get(word)


def _month_of(day: datetime, shift: int) -> Span:
    start = _months_later(day.replace(day=1), shift)
    return Span(start, _months_later(start, 1))


def _whole_year(year: int) -> Span:
    return Span(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC))


def _months_later(day: datetime, months: int) -> datetime:
    """The same day some months later; the 31st becomes the last day of a shorter month."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    return day.replace(year=year, month=month + 1, day=min(day.day, last_day))
