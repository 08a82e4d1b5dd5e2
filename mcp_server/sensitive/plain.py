"""A text as detectors read it: full-width letters and digits, ligatures and hidden characters must not hide a secret.

Only what is looked at is made plain. What is kept is the text as it was sent, so every place leads back to where it stands there.
"""

import bisect
import re
import unicodedata

from msgspec import Struct

from mcp_server.sensitive.spans import Span

# What shows nothing and may stand in the middle of a word: soft hyphens, zero-width spaces and joiners, marks of direction.
_HIDDEN = "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
# Marks that make one character with the one before: accents written apart, parts of Korean syllables, of Japanese ones.
_JOINED = "\u0300-\u036f\u1160-\u11ff\u3099\u309a"
_SPECIAL = re.compile(
    f"[{_HIDDEN}]+|[^\\x00-\\x7f{_JOINED}{_HIDDEN}][{_JOINED}]{{0,4}}|[\\x00-\\x7f][{_JOINED}]{{1,4}}"
)
_HIDES = re.compile(f"[{_HIDDEN}]")
# One character stands for a whole Arabic phrase; a text of these only would grow to eighteen times its length.
_GROWN_MAX = 4


class Plain(Struct, frozen=True):
    text: str
    # The pieces that differ: where each stands here, and where in the text that was sent.
    plain_starts: tuple[int, ...] = ()
    plain_ends: tuple[int, ...] = ()
    sent_starts: tuple[int, ...] = ()
    sent_ends: tuple[int, ...] = ()

    def sent(self, span: Span) -> Span:
        """Where this stands in the text that was sent; of a character that became several, all of it."""
        if not self.plain_ends:
            return span
        return Span(self._start(span.start), self._end(span.end), span.label, span.family)

    def _start(self, place: int) -> int:
        number = bisect.bisect_right(self.plain_starts, place) - 1
        if number < 0:
            return place
        if place < self.plain_ends[number]:
            return self.sent_starts[number]
        return self.sent_ends[number] + place - self.plain_ends[number]

    def _end(self, place: int) -> int:
        number = bisect.bisect_left(self.plain_starts, place) - 1
        if number < 0:
            return place
        if place <= self.plain_ends[number]:
            return self.sent_ends[number]
        return self.sent_ends[number] + place - self.plain_ends[number]


def plain(text: str) -> Plain:
    if text.isascii() or (unicodedata.is_normalized("NFKC", text) and not _HIDES.search(text)):
        return Plain(text)
    pieces: list[str] = []
    plain_starts: list[int] = []
    plain_ends: list[int] = []
    sent_starts: list[int] = []
    sent_ends: list[int] = []
    at = length = 0
    for match in _SPECIAL.finditer(text):
        said = match.group()
        simple = _simple(said)
        if simple == said:
            continue
        pieces += [text[at : match.start()], simple]
        plain_starts.append(length + match.start() - at)
        length = plain_starts[-1] + len(simple)
        plain_ends.append(length)
        sent_starts.append(match.start())
        at = match.end()
        sent_ends.append(at)
    pieces.append(text[at:])
    return Plain(
        "".join(pieces),
        tuple(plain_starts),
        tuple(plain_ends),
        tuple(sent_starts),
        tuple(sent_ends),
    )


def small_letters(text: str) -> str:
    """In small letters, every one at its place: the few that would become two stay as they are."""
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(each.lower() if len(each.lower()) == 1 else each for each in text)


def _simple(said: str) -> str:
    if _HIDES.match(said):
        return ""
    simple = unicodedata.normalize("NFKC", said)
    return simple if len(simple) <= _GROWN_MAX * len(said) else said
