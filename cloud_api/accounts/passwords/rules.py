"""Which passwords are refused, and why in words that help to find a better one.

NIST SP 800-63B-4 §3.1.1.2: length, a list of what is known to attackers, and the person's own words; no rules on kinds
of characters, no expiry. This module must never put the password into an error.
"""

import unicodedata
from collections.abc import Sequence
from typing import Literal

from zxcvbn_rs_py import Warning as Pattern
from zxcvbn_rs_py import zxcvbn

from shared.errors import InvalidError

PASSWORD_CHARS_MIN = 12
# Argon2 takes any length; a body of megabytes for one guess does not have to be taken.
PASSWORD_CHARS_MAX = 1024

# zxcvbn: 3 is "safely unguessable" for an online service, more than 10⁸ guesses.
SCORE_MIN = 3
# A long password is judged by its beginning: never better than it is. 100 characters chosen for it take zxcvbn seconds, in
# which it lets no other thread of the process run; these take some 50 ms at the worst, and four words fit.
JUDGED_CHARS = 32

# A shorter word of the person's own ("Li", "ann") lies in too many good passwords by chance.
OWN_WORD_CHARS_MIN = 4

Weakness = Literal["too_short", "too_long", "known", "own_words", "guessable", "not_text"]

_KNOWN = (
    Pattern.ThisIsATop10Password,
    Pattern.ThisIsATop100Password,
    Pattern.ThisIsACommonPassword,
    Pattern.ThisIsSimilarToACommonlyUsedPassword,
)

_SENTENCES: dict[Weakness, str] = {
    "too_short": f"The password is too short. Take at least {PASSWORD_CHARS_MIN} characters; four words are easy to keep.",
    "too_long": f"The password is longer than {PASSWORD_CHARS_MAX} characters. Take a shorter one.",
    "known": "This password is on the lists of leaked passwords that attackers try first. Take another one.",
    "own_words": "The password holds your own name or mail address, which an attacker tries first. Take other words.",
    "guessable": "The password is easy to guess. Add a word or two that have nothing to do with each other.",
    "not_text": "The password holds bytes that are no text. Type it again.",
}


class WeakPasswordError(InvalidError):
    code = "weak_password"

    def __init__(self, weakness: Weakness) -> None:
        super().__init__(_SENTENCES[weakness])
        self.weakness = weakness


def normal(password: str) -> str:
    """The same characters typed on another keyboard are the same password (NIST SP 800-63B-4 §3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def weakness(password: str, own_words: Sequence[str]) -> Weakness | None:
    """Why this password is refused for the person of these words (name, mail address), or None."""
    typed = normal(password)
    try:
        typed.encode()
    except UnicodeEncodeError:
        return "not_text"
    if len(typed) < PASSWORD_CHARS_MIN:
        return "too_short"
    if len(typed) > PASSWORD_CHARS_MAX:
        return "too_long"
    words = _own_words(own_words)
    entropy = zxcvbn(typed[:JUDGED_CHARS], [*words, "sunaiva"])
    if entropy.feedback is not None and entropy.feedback.warning in _KNOWN:
        return "known"
    if any(word in typed.casefold() for word in words):
        return "own_words"
    return "guessable" if int(entropy.score) < SCORE_MIN else None


def _own_words(texts: Sequence[str]) -> list[str]:
    words: set[str] = set()
    for text in texts:
        folded = normal(text).casefold()
        # Of an address only what is the person's: a password may hold "example" or "mail".
        local = folded.partition("@")[0]
        words |= {folded, local, *local.replace(".", " ").replace("_", " ").split()}
    return sorted(word for word in words if len(word) >= OWN_WORD_CHARS_MIN)
