"""What should not be kept unasked: secrets that an assistant happened to see, and, if the person wants, what tells who somebody is.

Pure. What is found is described by its kind and place; nothing here keeps, logs or returns the sensitive text itself.
"""

import re
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from mcp_server.sensitive.numbers import accounts, addresses, cards, national_ids
from mcp_server.sensitive.passwords import passwords, pins
from mcp_server.sensitive.phrases import SEED_PHRASE, seed_phrases
from mcp_server.sensitive.plain import plain
from mcp_server.sensitive.spans import Span
from mcp_server.sensitive.tokens import aws_secrets, known_keys, private_keys, random_tokens

__all__ = ["Handling", "Policy", "Screened", "Span", "found", "marks", "refused", "screen"]

Handling = Literal["allow", "redact", "block"]

DETECTORS = (
    known_keys,
    aws_secrets,
    private_keys,
    random_tokens,
    passwords,
    pins,
    cards,
    seed_phrases,
)
PERSONAL_DETECTORS = (accounts, addresses, national_ids)
# Names of conversations are often random or long numbers, given by a program: there only what says that it is a secret is one.
_NOT_IN_NAMES = (random_tokens, cards)
OWN_WORDS = "recovery words of this vault"
_MARK = re.compile(r"\[redacted: ([a-zA-Z -]{1,40})\]")


class Policy(Struct, frozen=True):
    """What becomes of what is found."""

    secrets: Handling = "redact"
    # A person's own memory should know their phone number.
    personal: Handling = "allow"


class Screened(Struct, frozen=True):
    text: str
    """What may be stored."""
    redacted: tuple[str, ...] = ()
    """What was taken out, by its label, in order."""
    refused: tuple[str, ...] = ()
    """Why nothing of it may be stored."""


def screen(
    text: str, policy: Policy, *, own_words: Callable[[str], bool], is_name: bool = False
) -> Screened:
    """What of a text, or of a name, may be stored. `own_words` knows the recovery words of this vault, which no policy lets in."""
    spans = found(text, personal=policy.personal != "allow", is_name=is_name)
    phrases = (
        seed_phrases(plain(text).text) if any(span.label == SEED_PHRASE for span in spans) else ()
    )
    if any(own_words(phrase.words) for phrase in phrases):
        return Screened("", refused=(OWN_WORDS,))
    how = {"secret": policy.secrets, "personal": policy.personal}
    blocked = [span.label for span in spans if how[span.family] == "block"]
    if blocked:
        return Screened("", refused=tuple(dict.fromkeys(blocked)))
    taken = [span for span in spans if how[span.family] == "redact"]
    kept, at = [], 0
    for span in taken:
        kept += [text[at : span.start], f"[redacted: {span.label}]"]
        at = span.end
    return Screened("".join([*kept, text[at:]]), tuple(span.label for span in taken))


def refused(
    text: str, policy: Policy, *, own_words: Callable[[str], bool], is_name: bool = False
) -> bool:
    """Whether `screen` would refuse it; quick where the policy blocks nothing."""
    if "block" in (policy.secrets, policy.personal):
        return bool(screen(text, policy, own_words=own_words, is_name=is_name).refused)
    return any(own_words(phrase.words) for phrase in seed_phrases(plain(text).text))


def found(text: str, *, personal: bool = True, is_name: bool = False) -> list[Span]:
    """Everything sensitive, in order, none within another; of two that overlap the first, or else the longer."""
    detectors = (*DETECTORS, *PERSONAL_DETECTORS) if personal else DETECTORS
    looked_at = plain(text)
    apart: list[Span] = []
    for span in sorted(
        (
            looked_at.sent(span)
            for detector in detectors
            if not (is_name and detector in _NOT_IN_NAMES)
            for span in detector(looked_at.text)
        ),
        key=lambda span: (span.start, span.family != "secret", -span.end),
    ):
        if not apart or span.start >= apart[-1].end:
            apart.append(span)
        elif span.family == "secret" and apart[-1].family != "secret":
            apart[-1] = span
        elif span.label == apart[-1].label and span.end > apart[-1].end:
            apart[-1] = Span(apart[-1].start, span.end, span.label, span.family)
    return apart


def marks(text: str) -> list[str]:
    """The labels of what was redacted from a text before, as its marks say."""
    return _MARK.findall(text)
