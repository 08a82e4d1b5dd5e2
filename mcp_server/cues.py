"""What a text shows of its own accord: a standing instruction, a preference, who the person is, a promise, a decision, a day ahead.

Pure, and without a language model: phrases from a table, sentence by sentence, in time linear in the text. A cue is a hint for what to
show first, never a claim about what is true. Text that arrived from outside must not come to instruct anybody: a tool's output has no cue but its
days, a file no standing instruction. What an assistant notes on purpose, in short, is the person's word however it is put; of what it says in a
conversation only what speaks of the person from outside counts, because its "I" is not the person.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain

from msgspec import Struct

from mcp_server import coming, phrases
from mcp_server.model import Kind, Trust
from mcp_server.phrases import (
    DATED,
    DECISION,
    DONE,
    PREFERENCE,
    PROFILE,
    PROMISE,
    STANDING,
    TIME_WORDS,
    TIMED,
    Phrase,
)

__all__ = ["DATED", "DECISION", "DONE", "PREFERENCE", "PROFILE", "PROMISE", "STANDING", "TIMED", "Cited", "cited", "flags"]  # fmt: skip

# What people say of themselves stands at the beginning of what they say; what follows is the material.
LOOKED_AT_CHARS = 4_000
# An assistant's note is one statement; in its long answers the same words are about somebody else.
_NOTE_CHARS = 400
# A sentence longer than this is shown around its cue only.
SHOWN_CHARS = 240
_SHOWN_BEFORE = 60
_ASSISTANTS = frozenset(("assistant", "ai", "bot", "system", "model", "tool", "chatgpt", "claude", "gemini", "copilot"))  # fmt: skip

_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”)\]]{0,2}\s+|\n+")
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_TIME = re.compile(TIME_WORDS, re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_STRAIGHT = str.maketrans("’‘", "''")


# What is said, copied or summed up, in contrast to what is noted on purpose.
_NO_NOTES: frozenset[Kind] = frozenset(("turn", "document", "summary"))


class Cited(Struct, frozen=True):
    """One sentence that carries cues."""

    flags: int
    sentence: str
    """Verbatim; of a long one, the part around the cue."""
    about: str | None
    """What it says of the person: `name`, `home`, `family: sister`, …"""


class _Ready(Struct, frozen=True):
    phrase: Phrase
    expression: re.Pattern[str]


def flags(text: str, speaker: str | None, trust: Trust, kind: Kind) -> int:
    """The cues of a whole text, as the bits of `phrases`."""
    found = 0
    for sentence in _sentences(text, speaker, trust):
        for ready, _ in _matches(sentence, _table(speaker, trust, kind), wanted=0xFF):
            found |= ready.phrase.flags
        if not found & DATED and coming.names_a_day(sentence):
            found |= DATED
        if not found & TIMED and _TIME.search(sentence):
            found |= TIMED
    return found & _allowed(trust)


def cited(text: str, speaker: str | None, trust: Trust, kind: Kind, *, wanted: int) -> list[Cited]:
    """The sentences of a text that carry any of the wanted cues, in their order."""
    wanted &= _allowed(trust)
    found = []
    for sentence in _sentences(text, speaker, trust):
        carried, about, place = 0, None, 0
        for ready, match in _matches(sentence, _table(speaker, trust, kind), wanted):
            if not carried:
                place = match.start()
            carried |= ready.phrase.flags
            if about is None and ready.phrase.about is not None:
                about = _about(ready.phrase, match)
        if wanted & DATED and coming.names_a_day(sentence):
            carried |= DATED
        if carried & wanted:
            found.append(Cited(carried & wanted, shortened(sentence, place), about))
    return found


def _allowed(trust: Trust) -> int:
    everything = STANDING | PREFERENCE | PROFILE | PROMISE | DONE | DECISION | DATED | TIMED
    if trust == "tool_output":
        return DATED | TIMED
    if trust == "imported":
        return everything & ~STANDING  # a file may quote anybody
    return everything


def _table(speaker: str | None, trust: Trust, kind: Kind) -> dict[str, tuple[_Ready, ...]]:
    if trust == "tool_output":
        return {}
    if _is_named_assistant(speaker):
        return _of_notes()
    if trust == "said_by_assistant":
        if kind in _NO_NOTES:
            return _of_notes()
        return _of_either()
    return _of_people()


def _is_assistant(speaker: str | None, trust: Trust) -> bool:
    return trust == "said_by_assistant" or _is_named_assistant(speaker)


def _is_named_assistant(speaker: str | None) -> bool:
    return speaker is not None and speaker.casefold() in _ASSISTANTS


def _sentences(text: str, speaker: str | None, trust: Trust) -> Iterator[str]:
    if _is_assistant(speaker, trust):
        if len(text) > _NOTE_CHARS:
            return
        text = text[:_NOTE_CHARS]
    head = text[:LOOKED_AT_CHARS]
    if "```" in head:
        head = _FENCED.sub("\n", head)
    for sentence in _SENTENCE_END.split(head):
        stripped = sentence.strip()
        # A line that quotes ("> …") repeats what somebody else said.
        if stripped and not stripped.startswith(">"):
            yield stripped


def _matches(
    sentence: str, table: dict[str, tuple[_Ready, ...]], wanted: int
) -> Iterator[tuple[_Ready, re.Match[str]]]:
    straight = sentence.translate(_STRAIGHT)
    words = set(_WORD.findall(straight.casefold())) & table.keys()
    tried: set[int] = set()
    for word in words:
        for ready in table[word]:
            if not ready.phrase.flags & wanted or id(ready) in tried:
                continue
            tried.add(id(ready))
            match = ready.expression.search(straight)
            if match is not None:
                yield ready, match


def _about(phrase: Phrase, match: re.Match[str]) -> str | None:
    who = match.groupdict().get("who")
    return f"{phrase.about}: {who.casefold()}" if who else phrase.about


def shortened(sentence: str, place: int = 0) -> str:
    """A long sentence by its part around a place."""
    if len(sentence) <= SHOWN_CHARS:
        return sentence
    begin = max(0, min(place - _SHOWN_BEFORE, len(sentence) - SHOWN_CHARS))
    if begin:
        begin = sentence.find(" ", begin) + 1 or begin
    end = min(len(sentence), begin + SHOWN_CHARS)
    return (
        f"{'… ' if begin else ''}{sentence[begin:end].strip()}{' …' if end < len(sentence) else ''}"
    )


def _by_word(*tables: tuple[Phrase, ...]) -> dict[str, tuple[_Ready, ...]]:
    ready: dict[str, tuple[_Ready, ...]] = {}
    for phrase in chain(*tables):
        one = _Ready(
            phrase, re.compile(phrase.expression.replace("^^", phrases.OPENING), re.IGNORECASE)
        )
        for word in phrase.words.split():
            ready[word] = (*ready.get(word, ()), one)
    return ready


# Made when the first text is read: a hundred expressions take a tenth of a second, and most commands read none.
@cache
def _of_people() -> dict[str, tuple[_Ready, ...]]:
    return _by_word(phrases.PHRASES)


@cache
def _of_notes() -> dict[str, tuple[_Ready, ...]]:
    return _by_word(phrases.NOTED)


@cache
def _of_either() -> dict[str, tuple[_Ready, ...]]:
    return _by_word(phrases.PHRASES, phrases.NOTED)
