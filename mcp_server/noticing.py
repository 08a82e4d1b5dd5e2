"""What a new memory has to do with one that is there: the same again, or something that may contradict it.

Pure, and only ever a proposal: nothing is merged, hidden or deserves less trust because of what is said here.
"""

import re
from typing import Literal

Relation = Literal["near_duplicate", "may_contradict"]

# Cosines of the bundled model on short statements: paraphrases lie above .9, statements about the same thing above .6.
SAME_COSINE_MIN = 0.92
RELATED_COSINE_MIN = 0.6
_SAME_WORDS_MIN = 0.85
_RELATED_WORDS_MIN = 0.5
_NEGATIONS = frozenset(
    "no not never none nobody nothing don't doesn't didn't isn't wasn't aren't won't can't cannot".split()
)
_WORD = re.compile(r"[\w']+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
# "My favourite tea is …", "Ann lives in …": the same beginning, another ending.
_STATE = re.compile(
    r"^(?P<about>.{3,80}?\b(?:is|are|was|were|lives? in|live in|works? (?:at|for|as)|prefers?|uses?|likes?|loves?|hates?|"
    r"drives?|speaks?|moved to|is called|equals|costs?))\b(?P<state>.+)$",
    re.IGNORECASE | re.DOTALL,
)


def relation(new: str, old: str, cosine: float) -> Relation | None:
    """How `new` stands to `old`, given the cosine of their vectors (0 if unknown)."""
    new_words, old_words = _words(new), _words(old)
    shared = len(new_words & old_words) / max(1, len(new_words | old_words))
    if cosine < RELATED_COSINE_MIN and shared < _RELATED_WORDS_MIN:
        return None
    if _differ(new, old, new_words, old_words):
        return "may_contradict"
    if cosine >= SAME_COSINE_MIN or shared >= _SAME_WORDS_MIN:
        return "near_duplicate"
    return None


def _differ(new: str, old: str, new_words: set[str], old_words: set[str]) -> bool:
    """They speak of the same thing, but in another number, the other way round, or with another ending."""
    new_numbers, old_numbers = set(_NUMBER.findall(new)), set(_NUMBER.findall(old))
    if new_numbers and old_numbers and not new_numbers & old_numbers:
        return True
    if bool(new_words & _NEGATIONS) != bool(old_words & _NEGATIONS):
        return True
    new_state, old_state = _STATE.match(new.strip()), _STATE.match(old.strip())
    if new_state is None or old_state is None:
        return False
    same_about = _words(new_state["about"]) == _words(old_state["about"])
    return same_about and not _words(new_state["state"]) & _words(old_state["state"])


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text.replace("’", "'"))}
