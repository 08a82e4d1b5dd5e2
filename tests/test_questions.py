"""What a question asks for, as far as its words tell: speakers, the assistant, times."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from mcp_server.recall import understand
from mcp_server.when import Named, Span
from tests.pools import DAY


def named(words: Iterable[str]) -> set[int]:
    """As the catalogue answers: "user" and "assistant" are nobody in particular."""
    return {code for word, code in {"ann": 1, "bob": 2, "miller": 2}.items() if word in words}


UNDERSTOOD: dict[str, tuple[int | None, bool, bool]] = {
    "What did Ann say about Rome?": (1, False, False),
    "Ann's harbour": (1, False, False),
    "ann": (1, False, False),
    "Where does Bob Miller live": (2, False, False),
    "the miller's tale": (2, False, False),
    "Ann and Bob": (None, False, False),
    "Annabel": (None, False, False),
    "What did you recommend for dinner?": (None, True, False),
    "the restaurant Claude has suggested": (None, True, False),
    "what the assistant gave me": (None, True, False),
    "What did you and Ann eat": (1, False, False),
    "When did we move?": (None, False, True),
    "How long has Ann lived here": (1, False, True),
    "In which year was it": (None, False, True),
    "How many weeks ago did you say so?": (None, True, True),
    "How many boats are there": (None, False, False),
    "Tell me when it rains": (None, False, False),
    "": (None, False, False),
}


@pytest.mark.parametrize(("text", "expected"), UNDERSTOOD.items(), ids=UNDERSTOOD)
def test_a_question_is_understood_as_far_as_words_allow(
    text: str, expected: tuple[int | None, bool, bool]
) -> None:
    understood = understand(text, named, now=DAY)
    assert (understood.speaker, understood.of_assistant, understood.asks_when) == expected
    assert understood.text == text


def test_a_question_knows_the_dates_it_names() -> None:
    understood = understand("What did I do on 8 May 2023?", named, now=DAY)
    whole = Span(DAY, datetime(2023, 5, 9, tzinfo=UTC))
    assert understood.dates == (Named(whole, "8 may 2023", relative=False),)


# What is asked besides a time: whether anything is, and how many times the question names.
ASKED_OF_TIMES: dict[str, tuple[bool, int]] = {
    "What did I do last spring?": (False, 1),
    "What happened in spring 2022?": (False, 1),
    "What did Ann say yesterday?": (False, 1),
    "What happened?": (False, 0),
    "Where did we sail last spring?": (True, 1),
    "去年春天 2022": (True, 1),
    "What did I do today?": (False, 1),
    "What shall I cook today?": (True, 0),
    "Which trains ran this week and last week?": (True, 1),
    "Which trains ran in the last two weeks?": (True, 1),
    "Which trains ran in 2023?": (True, 1),
}


@pytest.mark.parametrize(("text", "expected"), ASKED_OF_TIMES.items(), ids=ASKED_OF_TIMES)
def test_a_question_asks_of_a_time_or_only_in_it(text: str, expected: tuple[bool, int]) -> None:
    understood = understand(text, named, now=DAY)
    assert (understood.telling, len(understood.dates)) == expected
