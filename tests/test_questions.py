"""What a question asks for, as far as its words tell: speakers, the assistant, times."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from mcp_server.recall import understand
from mcp_server.when import Span
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
    understood = understand(text, named)
    assert (understood.speaker, understood.of_assistant, understood.asks_when) == expected
    assert understood.text == text


def test_a_question_knows_the_dates_it_names() -> None:
    understood = understand("What did I do on 8 May 2023?", named)
    assert understood.dates == (Span(DAY, datetime(2023, 5, 9, tzinfo=UTC)),)
