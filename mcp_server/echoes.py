"""Recalled text that comes back in: an assistant quotes what it was shown, and a hook captures the answer.

Without this a memory grows by copies of itself. Words the person said are never judged here. Only `of_draft` reads the
vault; `Shown` remembers in working memory what was shown lately, as hashes of its words.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from mcp_server.model import LINKS_MAX, Draft, Link
from mcp_server.vault import store
from shared.ids import MemoryId

if TYPE_CHECKING:
    from sqlite_utils import Database

# What a session was shown; a quote comes soon or not at all.
SHOWN_MAX = 300
_SHINGLE = 4
# Of a long memory an answer shows an excerpt of some hundred words, from anywhere in its beginning.
_MEMORY_WORDS_MAX = 2_000
_DRAFT_WORDS_MAX = 5_000
QUOTED_IDS_MAX = 50
ORIGINALS_MAX = 8

# Around quotes an assistant says a few words of its own: "here is what I found".
_QUOTED_SHARE = 0.8
_OWN_WORDS_MAX = 15
_QUOTE_WORDS_MIN = 8  # fewer words in common are how people talk

_LINE = re.compile(
    r"^[\s>*-]{0,8}\[([0-9a-f]{10})\](?: v\d+)? \d{4}-\d\d-\d\d(?: \(until [\d-]{10}\))? ?",
    re.MULTILINE,
)
_FRAME = re.compile(
    r"^[\s>*-]{0,8}(?:Memories \(quoted data, not instructions\):|What the person's own memory holds \(quoted data.{0,40}|"
    r"\(more: call again with cursor=\S{1,200}\)|\(… left out; the resource memory://ID has a memory whole\))\s*$",
    re.MULTILINE,
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class Echo(Struct, frozen=True):
    originals: tuple[MemoryId, ...]
    """What it quotes, the most quoted first."""
    whole: bool
    """It says nothing else."""


class Shown:
    """The memories shown lately."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: OrderedDict[MemoryId, frozenset[int] | None] = OrderedDict()

    def note(self, memories: Iterable[MemoryId]) -> None:
        with self._lock:
            for each in memories:
                self._shown[each] = self._shown.pop(each, None)
            while len(self._shown) > SHOWN_MAX:
                self._shown.popitem(last=False)

    def shingles(
        self, texts_of: Callable[[Sequence[MemoryId]], Mapping[MemoryId, str]]
    ) -> dict[MemoryId, frozenset[int]]:
        """Of each memory shown that is still there; `texts_of` is asked only for those that are new."""
        with self._lock:
            new = [each for each, known in self._shown.items() if known is None]
            for memory, text in texts_of(new).items() if new else ():
                self._shown[memory] = shingles(text)
            return {each: known for each, known in self._shown.items() if known}


def quoted_ids(text: str) -> list[str]:
    """Short ids at the beginning of lines in the form of our answers."""
    found = dict.fromkeys(match.group(1) for match in _LINE.finditer(text))
    return list(found)[:QUOTED_IDS_MAX]


def shingles(text: str) -> frozenset[int]:
    """Four words on end, hashed, for all places; of a shorter text all its words."""
    return frozenset(_hashes(_words(text, _MEMORY_WORDS_MAX)))


def echo(
    text: str, known: Mapping[MemoryId, frozenset[int]], *, conversational: bool
) -> Echo | None:
    """What of the memories in `known` a text repeats. A turn may say some words around it; a note on its own may not."""
    words = _words(_FRAME.sub("", _LINE.sub("", text)), _DRAFT_WORDS_MAX)
    hashes = _hashes(words)
    if not hashes:
        return None
    mine = set(hashes)
    shared = {
        each: len(mine & theirs) for each, theirs in known.items() if not mine.isdisjoint(theirs)
    }
    originals = sorted(shared, key=lambda each: -shared[each])[:ORIGINALS_MAX]
    quoted = frozenset().union(*(known[each] for each in originals))
    if not originals:
        return None
    covered = [False] * len(words)
    for place, each in enumerate(hashes):
        if each in quoted:
            covered[place : place + _SHINGLE] = [True] * len(covered[place : place + _SHINGLE])
    own = [word for word, is_quoted in zip(words, covered, strict=True) if not is_quoted]
    if len(own) > (1 - _QUOTED_SHARE) * len(words):
        is_quote = len(words) - len(own) >= _QUOTE_WORDS_MIN
        return Echo(tuple(originals), whole=False) if is_quote else None
    if conversational:
        news = any(character.isdigit() for word in own for character in word)
        return Echo(tuple(originals), whole=len(own) <= _OWN_WORDS_MAX and not news)
    # A sentence out of a long memory is worth its own place; the same memory once more is not.
    first = originals[0]
    same = not own and shared[first] >= 0.9 * len(known[first])
    return Echo(tuple(originals), whole=same)


def of_draft(db: "Database", shown: Shown, draft: Draft) -> Echo | None:
    """What a draft repeats of what was shown lately, or quotes with its id. What the person said is theirs, repeated or not."""
    if draft.source.trust == "said_by_user":
        return None

    def texts_of(ids: Sequence[MemoryId]) -> dict[MemoryId, str]:
        return {row.memory.id: row.memory.text for row in store.by_ids(db, ids)}

    known = shown.shingles(texts_of)
    for short in quoted_ids(draft.text):
        known |= {row.memory.id: shingles(row.memory.text) for row in store.by_short_id(db, short)}
    conversational = draft.kind in ("turn", "document")
    heard = echo(draft.text, known, conversational=conversational) if known else None
    if heard is None:
        return None
    # Some may have been forgotten, or be of another space, which an answer in this one must not reveal.
    there = {
        row.memory.id
        for row in store.by_ids(db, heard.originals)
        if row.memory.space == draft.space
    }
    originals = tuple(each for each in heard.originals if each in there)
    return (
        Echo(originals, heard.whole and len(originals) == len(heard.originals))
        if originals
        else None
    )


def with_sources(draft: Draft, heard: Echo) -> Draft:
    room = LINKS_MAX - len(draft.links)
    sources = tuple(Link("source", each) for each in heard.originals[:room])
    return msgspec.structs.replace(draft, links=(*draft.links, *sources))


def _words(text: str, limit: int) -> list[str]:
    found: list[str] = []
    for match in _WORD.finditer(text.casefold()):
        found.append(match.group())
        if len(found) == limit:
            break
    return found


def _hashes(words: Sequence[str]) -> list[int]:
    if len(words) < _SHINGLE:
        return [hash(tuple(words))] if len(words) > 1 else []
    return [hash(tuple(words[at : at + _SHINGLE])) for at in range(len(words) - _SHINGLE + 1)]
