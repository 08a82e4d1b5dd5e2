"""Where in a text something sensitive stands, and what it is. The value that detectors return; it never carries the text itself."""

import math
import re
from collections import Counter
from typing import Literal

from msgspec import Struct

Family = Literal["secret", "personal"]

_LOOKED_BACK_CHARS = 200


class Span(Struct, frozen=True, order=True):
    start: int
    end: int
    label: str
    """What it is, in a person's words: it stands in answers and in place of what was redacted."""
    family: Family


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the stretch is not the middle of a longer word or number."""
    before = text[start - 1 : start]
    return not before.isalnum() and not text[end : end + 1].isalnum()


def bits_per_character(text: str) -> float:
    """Shannon entropy: some 3 for words, above 4 for random keys of forty characters."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())


def said_before(text: str, start: int, characters: int) -> str:
    """The end of what stands before, in small letters: what a number or a token is said to be."""
    return text[max(0, start - characters) : start].casefold()


def in_address(text: str, start: int) -> bool:
    """Whether this place is inside of a web address or a path."""
    before = text[max(0, start - _LOOKED_BACK_CHARS) : start]
    word = re.split(r"\s", before)[-1]
    return "://" in word or "/" in word or word.startswith("www.")
