"""What a name may be, of a space, tag, relation, speaker, conversation or program; and what is shown of one that may not. Pure.

Other devices may say anything. Whatever they say becomes a name in one way, which depends on nothing but what they said: the
characters stand here, because Python's own tables grow with Unicode, and all devices have to show the same.
"""

import re

from mcp_server.model import NAME_CHARS_MAX

# Control, format and private characters, surrogates and spaces but the usual one: what is not seen, or turns what is seen around.
_NOT_IN_NAMES = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u3000\ud800-\uf8ff\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\U000f0000-\U0010ffff]"
)
_STANDS_FOR_IT = "\N{REPLACEMENT CHARACTER}"


def is_name(said: str) -> bool:
    return len(said) <= NAME_CHARS_MAX and not _NOT_IN_NAMES.search(said) and said.strip() != ""


def as_name(said: str) -> str | None:
    """The name itself; of what is none, what is shown of it, or nothing."""
    if is_name(said):
        return said
    cleaned = _NOT_IN_NAMES.sub(_STANDS_FOR_IT, said[:NAME_CHARS_MAX])
    return cleaned if cleaned.strip() else None
