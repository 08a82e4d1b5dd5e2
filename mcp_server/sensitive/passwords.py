"""Passwords: said in a sentence, assigned in a file, or inside of an address. What only talks about passwords is left alone.

A value is taken for a password by its look, never by looking it up anywhere.
"""

import re
import string
from collections.abc import Iterator

from mcp_server.sensitive.spans import Span

_SAID = re.compile(
    r"""(?P<name>pass(?:word|wd|phrase|code)s?|pwd|secret(?:[_ -]?key)?|(?:api|access|private|account)[_ -]?key|
        (?:access|auth|api|bot|refresh)[_ -]?token|client[_ -]?secret)["'`]?
        (?:\s(?:for|to|of|on|at)\s[^\s:=]{1,24}(?:\s[^\s:=]{1,16})?)?
        (?P<how>\s{0,3}[:=]{1,2}\s{0,3}|\s{1,2}(?:is|was)(?:\snow|:)?\s{1,2})
        ["'`]?(?P<value>[^\s"'`]{4,200})""",
    re.VERBOSE,
)
_IN_ADDRESS = re.compile(r"://([^\s/:@]{0,100}):([^\s/@]{3,200})@")

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_CLOSING = ".,;:!?)]}>"
_PLACEHOLDER = re.compile(
    r"[$<{\[(%*•…#]|(?:os|process|env|self|settings|config|secrets|vault|import|getenv)\b\.?|[*xX.•_-]+$|"
    r"\d{1,4}[/-]\d{1,2}[/-]\d{1,4}$|your[_-]|my[_-]|example|changeme$|redacted",
    re.IGNORECASE,
)
_NO_PASSWORD = frozenset(
    "required optional string none null true false undefined changed reset hidden missing wrong incorrect expired invalid "
    "unknown empty default manager protected managers stored encrypted different correct forgotten nothing something".split()
)
# What code assigns: a variable, an attribute, a call. No quote stands inside of a value, so `form["x"]` ends at its bracket.
_IDENTIFIER = re.compile(r"[A-Za-z_.]*[_.\[({][A-Za-z_.]*[\[({]?")
_KEY_CHARS_MIN = 12


def passwords(text: str) -> Iterator[Span]:
    # Not `IGNORECASE`, which would try the pattern at every letter; and places must stay where they are, so ASCII only.
    for match in _SAID.finditer(text.translate(_SMALL)):
        start = match.start("value")
        value = text[start : match.end("value")].rstrip(_CLOSING)
        if _is_one(value, match, rest=text[match.end() : match.end() + 2]):
            label = "password" if match["name"][0] == "p" and not _is_key(match["name"]) else "key"
            yield Span(start, start + len(value), label, "secret")
    for match in _IN_ADDRESS.finditer(text):
        if not _PLACEHOLDER.match(match.group(2)):
            yield Span(match.start(2), match.end(2), "password", "secret")


def _is_key(name: str) -> bool:
    return name.endswith(("key", "token", "secret"))


def _is_one(value: str, match: re.Match[str], *, rest: str) -> bool:
    if len(value) < 4 or _PLACEHOLDER.match(value) or "(" in value or "://" in value:
        return False
    if _IDENTIFIER.fullmatch(value):
        return False
    has_digit = any(c.isdigit() for c in value)
    has_letter = any(c.isalpha() for c in value)
    if _is_key(match["name"]):
        return has_digit and has_letter and len(value) >= _KEY_CHARS_MIN
    if has_digit:
        return has_letter or len(value) >= 4
    odd = any(not c.isalnum() and c not in "-'/’" for c in value)
    mixed = not (value.islower() or value.isupper() or value.istitle() or value[1:].islower())
    if odd or mixed:
        return has_letter and len(value) >= 6
    # A single plain word is a password only where nothing else can be meant: alone after a colon.
    assigned = "is" not in match["how"] and "was" not in match["how"]
    return (
        assigned
        and len(value) >= 8
        and value.islower()
        and value.isalpha()
        and value not in _NO_PASSWORD
        and rest.strip(" .,;!?)") == ""
        and not rest.startswith(" ")
    )
