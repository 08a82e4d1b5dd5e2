"""The days that a sentence names, from the day on which it was said."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.coming import days_ahead

SATURDAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("See you tomorrow.", "2026-11-22"),
        ("Dinner the day after tomorrow", "2026-11-23"),
        ("I'll do it by Friday.", "2026-11-27"),
        ("next Friday we fly", "2026-11-27"),
        ("It is due on Saturday", "2026-11-28"),
        ("in two weeks", "2026-12-05"),
        ("10 days from now", "2026-12-01"),
        ("in three months", "2027-02-21"),
        ("on 3 June", "2027-06-03"),
        ("on December 1st", "2026-12-01"),
        ("June 3rd, 2028", "2028-06-03"),
        ("the deadline is 2026-12-24", "2026-12-24"),
        ("morgen früh", "2026-11-22"),
        ("am Freitag", "2026-11-27"),
        ("in zwei Wochen", "2026-12-05"),
        ("am 3. Juni", "2027-06-03"),
        ("bis zum 3.6.2027", "2027-06-03"),
        ("demain matin", "2026-11-22"),
        ("vendredi prochain", "2026-11-27"),
        ("dans deux semaines", "2026-12-05"),
        ("le 3 juin", "2027-06-03"),
        ("mañana te llamo", "2026-11-22"),
        ("el próximo viernes", "2026-11-27"),
        ("dentro de dos semanas", "2026-12-05"),
        ("el 3 de junio", "2027-06-03"),
    ],
)
def test_a_day_is_found_from_the_day_it_was_said(said: str, day: str) -> None:
    assert [
        (one.first.isoformat(), one.last.isoformat()) for one in days_ahead(said, SATURDAY)
    ] == [(day, day)]


@pytest.mark.parametrize(
    ("said", "first", "last"),
    [
        ("next week", "2026-11-23", "2026-11-29"),
        ("this weekend", "2026-11-21", "2026-11-22"),
        ("next month", "2026-12-01", "2026-12-31"),
        ("in March", "2027-03-01", "2027-03-31"),
        ("nächste Woche", "2026-11-23", "2026-11-29"),
        ("le mois prochain", "2026-12-01", "2026-12-31"),
        ("la semana que viene", "2026-11-23", "2026-11-29"),
    ],
)
def test_a_time_of_several_days_is_one_span(said: str, first: str, last: str) -> None:
    (one,) = days_ahead(said, SATURDAY)
    assert (one.first.isoformat(), one.last.isoformat()) == (first, last)


@pytest.mark.parametrize(
    "said",
    [
        "We went there on Friday.",
        "I was born on 3 June.",
        "It was on 3 June 2020.",
        "two weeks ago",
        "30 February 2027",
        "I may come.",
        "the march of time",
        "Guten Morgen!",
        "por la mañana",
        "nothing at all",
        "in 999 weeks",
    ],
)
def test_what_is_past_impossible_or_no_day_is_left_out(said: str) -> None:
    assert days_ahead(said, SATURDAY) == []


@given(
    st.text(alphabet="in on next by the 0123456789 .-,ademjunifrwskoyth", max_size=200),
    st.dates(min_value=date(1970, 1, 1)),
)
def test_any_sentence_on_any_day_names_only_days_ahead(sentence: str, said: date) -> None:
    assert all(day.last >= said and day.last >= day.first for day in days_ahead(sentence, said))
