"""What every importer yields, and how it is put together: drafts with their source, and problems.

A bad record becomes a `Problem` in the stream and everything around it flows on; only a file that is not what it
claims to be raises. A text is never changed: one that is too long is cut into parts that join to it again.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from mcp_server.model import NAME_CHARS_MAX, TAGS_MAX, TEXT_BYTES_MAX, Draft, Memory, Source, Trust
from shared.clock import from_ms, whole_milliseconds

FormatName = Literal[
    "chatgpt", "claude", "claude-code", "server-memory", "markdown", "mem0", "jsonl", "zip"
]

CLIENT = "sunaiva import"

# Four bytes is the most that UTF-8 needs for a character, so a part always fits.
PART_CHARS_MAX = TEXT_BYTES_MAX // 4


class Problem(Struct, frozen=True):
    """A record that could not be imported. Both parts can be shown to the person as they are."""

    where: str
    why: str


Item = Draft | Memory | Problem


Speaker = Literal["user", "assistant"]
SPEAKERS: dict[str | None, Speaker] = {"user": "user", "human": "user", "assistant": "assistant"}
"""By what products call them."""


class Turn(Struct, frozen=True, kw_only=True):
    """Something said in a conversation."""

    key: str
    speaker: Speaker
    text: str
    at: datetime | None


def source(format: FormatName, key: str, trust: Trust) -> Source:
    """`key` is what the product itself calls the record, so that a second import finds it again."""
    return Source(trust=trust, client=CLIENT, tool=format, key=f"{format}:{key}")


def turn_drafts(
    turn: Turn,
    format: FormatName,
    *,
    conversation: str,
    position: int,
    tags: tuple[str, ...] = (),
) -> list[Draft]:
    """The turn, in as many drafts as its length needs; the next turn's position is that many further on."""
    trust: Trust = "said_by_user" if turn.speaker == "user" else "said_by_assistant"
    whole = Draft(
        text=turn.text,
        source=source(format, turn.key, trust),
        kind="turn",
        tags=tags,
        occurred_at=turn.at,
        speaker=turn.speaker,
        conversation=conversation,
    )
    return [replace(part, position=position + index) for index, part in enumerate(in_parts(whole))]


def in_parts(draft: Draft) -> Iterator[Draft]:
    """The draft itself, or consecutive parts with the keys `…:1`, `…:2` if its text is too long for one memory."""
    if len(draft.text) <= PART_CHARS_MAX:
        yield draft
        return
    for number, text in enumerate(cut(draft.text, PART_CHARS_MAX), start=1):
        part = replace(draft.source, key=f"{draft.source.key}:{number}")
        yield replace(draft, text=text, source=part)


def cut(text: str, chars_max: int) -> list[str]:
    """Parts of at most that many characters, at the best place to cut, which join to the text again."""
    parts: list[str] = []
    start = 0
    while len(text) - start > chars_max:
        end = _best_cut(text, start, start + chars_max)
        parts.append(text[start:end])
        start = end
    parts.append(text[start:])
    return parts


def conversation_name(title: str | None, product: str, conversation_id: str) -> str:
    """Readable and unique: `Trip to Lisbon · ChatGPT/68c13686`."""
    suffix = f" · {product}/{name(conversation_id)[:8]}"
    return name(title or "Untitled")[: NAME_CHARS_MAX - len(suffix)].rstrip() + suffix


def name(text: str) -> str:
    """As a tag, speaker or conversation may be: one line, without control characters, not too long."""
    printable = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(printable.split())[:NAME_CHARS_MAX].rstrip()


def tags(*words: str | None) -> tuple[str, ...]:
    named = dict.fromkeys(name(word.lstrip("#")) for word in words if word)
    return tuple(word for word in named if word)[:TAGS_MAX]


def digest(*parts: str) -> str:
    """A short stable name for content that has no id of its own. 2⁻⁴⁰ for a collision among a million."""
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:20]


def moment(value: object) -> datetime | None:
    """An instant as products write it: ISO 8601, or seconds, milliseconds or microseconds since 1970."""
    if isinstance(value, datetime):
        return _whole(value)
    if isinstance(value, str):
        return _from_iso(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(value)
    return None


def without_future_turn(draft: Draft, now: datetime) -> Draft | None:
    """The draft without its date if it is a turn said tomorrow or later, which cannot be; else None."""
    if draft.kind != "turn" or draft.occurred_at is None:
        return None
    if draft.occurred_at <= now + timedelta(days=1):  # clocks differ, and so do time zones
        return None
    return replace(draft, occurred_at=None)


def _best_cut(text: str, start: int, end: int) -> int:
    # Only the second half is searched: a cut near the beginning would make many small parts.
    for boundary in ("\n\n", "\n", ". ", " "):
        found = text.rfind(boundary, start + (end - start) // 2, end)
        if found != -1:
            return found + len(boundary)
    return end


def _from_iso(text: str) -> datetime | None:
    # Others write more digits than Python takes, or a zone it does not know: then to the second, as UTC.
    to_the_second = re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", text.strip())
    for written in (text.strip(), to_the_second[0] if to_the_second else ""):
        try:
            return _whole(datetime.fromisoformat(written))
        except ValueError:
            continue
    return None


def _from_number(value: float) -> datetime | None:
    # 10¹¹ as seconds would be the year 5138, as milliseconds it is 1973; the same again for microseconds.
    for per_second in (1, 1_000, 1_000_000):
        if abs(value) < 1e11 * per_second:  # never true of what is no number
            try:
                return from_ms(round(value * 1_000 / per_second))
            except OverflowError:  # before the year 1
                return None
    return None


def _whole(value: datetime) -> datetime | None:
    try:
        return whole_milliseconds(value if value.tzinfo else value.replace(tzinfo=UTC))
    except OverflowError:  # the first and last day of the calendar, in another time zone
        return None
