"""What a draft must be to be stored: the limits of the model, said in sentences. Pure; nothing is corrected or cut to fit."""

from collections.abc import Sequence
from typing import TypeVar

from mcp_server.model import (
    COUNT_MAX,
    DRAFTS_PER_CALL_MAX,
    LINKS_MAX,
    NAME_CHARS_MAX,
    TAGS_MAX,
    TEXT_BYTES_MAX,
    Draft,
    Memory,
)
from mcp_server.naming import is_name
from shared.clock import whole_milliseconds
from shared.errors import InvalidError

Content = TypeVar("Content", Draft, Memory)


def bounded(items: Sequence[Draft] | Sequence[Memory]) -> Sequence[Draft]:
    if not items:
        raise InvalidError("There is nothing to store: give at least one memory.")
    if len(items) > DRAFTS_PER_CALL_MAX:
        raise InvalidError(
            f"{len(items):,} memories in one call; at most {DRAFTS_PER_CALL_MAX:,} are taken. "
            "Nothing was stored: send them in several calls, or as a file with `sunaiva import`."
        )
    return items  # type: ignore[return-value] # callers know which of the two they gave


def checked(draft: Content, which: str) -> Content:
    text_checked(draft.text, which)
    for what, name in (
        ("space", draft.space),
        ("speaker", draft.speaker),
        ("conversation", draft.conversation),
    ):
        if name is not None:
            _name_checked(name, f"{which}'s {what}")
    for tag in draft.tags:
        _name_checked(tag, f"A tag of {which[0].lower() + which[1:]}")
    for link in draft.links:
        _name_checked(link.relation, f"A relation of {which[0].lower() + which[1:]}")
    if len(draft.tags) > TAGS_MAX or len(draft.links) > LINKS_MAX:
        raise InvalidError(
            f"{which} has too many tags or links: at most {TAGS_MAX} and {LINKS_MAX}."
        )
    if not 0 <= draft.importance <= 1:
        raise InvalidError(f"{which}'s importance is {draft.importance}; it goes from 0 to 1.")
    if draft.position is not None and not 0 <= draft.position <= COUNT_MAX:
        raise InvalidError(
            f"{which}'s position is {draft.position}; it goes from 0 to {COUNT_MAX}."
        )
    _times_checked(draft, which)
    return draft


def text_checked(text: str, which: str) -> None:
    if not text.strip():
        raise InvalidError(f"{which} is empty. Give it a text.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidError(
            f"{which} is not valid Unicode (a lone surrogate at character {error.start}). Send it as UTF-8."
        ) from error
    if size > TEXT_BYTES_MAX:
        raise InvalidError(
            f"{which} has {size:,} bytes; one memory holds at most {TEXT_BYTES_MAX:,}. "
            "Split it, or import the file with `sunaiva import`, which splits it for you."
        )


def _name_checked(name: str, which: str) -> None:
    if not is_name(name):
        raise InvalidError(
            f"{which} is {name[:40]!r}; a name has 1 to {NAME_CHARS_MAX} printable characters."
        )


def _times_checked(content: Draft | Memory, which: str) -> None:
    try:
        _, start, end = (
            None if said is None else whole_milliseconds(said)
            for said in (content.occurred_at, content.valid_from, content.valid_to)
        )
    except OverflowError as error:
        raise InvalidError(
            f"{which} names a time that no calendar here has: in UTC, the years go from 1 to 9999."
        ) from error
    if start is not None and end is not None and end <= start:
        raise InvalidError(
            f"{which} would end being true before it begins ({end} is not after {start})."
        )
