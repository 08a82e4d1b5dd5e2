"""Twelve recovery words (BIP-39, English) and the 128 bits they stand for.

What a person may have changed while writing down and typing again (spaces, line breaks, capitals, the form of their
Unicode) is ignored. Order and words are the secret itself: a mistake there is named, never guessed away.
"""

import difflib
import unicodedata

from mnemonic import Mnemonic

from shared.errors import InvalidError

WORDS = 12
ENTROPY_BYTES = 16

_SHOWN_CHARS_MAX = 20  # enough to recognise a mistyped word, too little to repeat a pasted secret


def words_of(entropy: bytes) -> str:
    assert len(entropy) == ENTROPY_BYTES
    return Mnemonic("english").to_mnemonic(entropy)


def entropy_of(words: str) -> bytes:
    """The entropy that `words_of` was given.

    Raises:
        InvalidError: too few or too many words, one that is not in the list, or twelve that do not belong together.
    """
    typed = unicodedata.normalize("NFKD", words).casefold().split()
    if len(typed) != WORDS:
        raise InvalidError(
            f"There are {WORDS} recovery words; {len(typed)} were given. Type them all, in order."
        )
    mnemonic = Mnemonic("english")
    for position, word in enumerate(typed, 1):
        if word not in mnemonic.wordlist:
            raise InvalidError(_unknown_word(position, word, mnemonic.wordlist))
    try:
        return bytes(mnemonic.to_entropy(typed))
    except ValueError:
        raise InvalidError(
            f"All {WORDS} are words of the list, but they do not belong together: one was written down as another "
            "word, or two have changed places. Compare them with your note, in order."
        ) from None


def _unknown_word(position: int, word: str, wordlist: list[str]) -> str:
    nearest = difflib.get_close_matches(word, wordlist, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else " Compare it with your note."
    return f"Word {position}, {word[:_SHOWN_CHARS_MAX]!r}, is not a recovery word.{hint}"
