"""Seed phrases: 12 to 24 words of the BIP-39 list whose checksum is right. They open wallets, and twelve of them open a vault."""

import functools
import hashlib
import re
from collections.abc import Iterator

from mnemonic import Mnemonic

from mcp_server.sensitive.spans import Span

SEED_PHRASE = "seed phrase"
_SIZES = (24, 21, 18, 15, 12)
_WORD = re.compile(r"[A-Za-z]+")
# Between two words of a phrase: spaces, line ends, commas, numbering. More is another sentence.
_BETWEEN = re.compile(r"[\s,;.:)\d\"'|*-]{1,12}$")
# A text made of such words only is no phrase somebody noted; this many places are tried, which takes some 10 ms.
_TRIED_MAX = 500


class Phrase(Span, frozen=True):
    words: str
    """To see whether they are our own vault's. Never shown, never stored."""


def seed_phrases(text: str) -> Iterator[Phrase]:
    """All of them, also where one lies across another: words of the list beside a phrase can make a second one by chance."""
    tried = 0
    for run in _runs(text):
        for first in range(len(run) - _SIZES[-1] + 1):
            if tried >= _TRIED_MAX:
                return
            tried += 1
            for size in _SIZES:
                said = run[first : first + size]
                if _holds(said, size):
                    words = " ".join(match.group().lower() for match in said)
                    yield Phrase(said[0].start(), said[-1].end(), SEED_PHRASE, "secret", words)


def _runs(text: str) -> Iterator[list[re.Match[str]]]:
    """Stretches of words that are all in the list, long enough to hold a phrase."""
    listed = _list()
    # A first look without places, because nearly no text has twelve such words on end.
    known_words = bytes(word.lower() in listed for word in _WORD.findall(text))
    if bytes([1]) * _SIZES[-1] not in known_words:
        return
    run: list[re.Match[str]] = []
    for match in _WORD.finditer(text):
        known = match.group().casefold() in listed
        joined = known and (
            not run or _BETWEEN.fullmatch(text[run[-1].end() : match.start()][:13]) is not None
        )
        if not joined or len(run) >= _TRIED_MAX:
            if len(run) >= _SIZES[-1]:
                yield run
            run = []
        if known:
            run.append(match)
    if len(run) >= _SIZES[-1]:
        yield run


def _holds(said: list[re.Match[str]], size: int) -> bool:
    if len(said) < size:
        return False
    listed = _list()
    value = 0
    for match in said:
        value = value << 11 | listed[match.group().casefold()]
    check_bits = size // 3
    entropy = (value >> check_bits).to_bytes(size * 4 // 3, "big")
    wanted = hashlib.sha256(entropy).digest()[0] >> (8 - check_bits)
    return value & ((1 << check_bits) - 1) == wanted


@functools.cache
def _list() -> dict[str, int]:
    return {word: number for number, word in enumerate(Mnemonic("english").wordlist)}
