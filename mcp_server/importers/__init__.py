"""Memories on their way in, from other products and from our own exports.

Importers only read: they turn files into drafts and never touch a vault. They read as streams, whatever the size, and
each draft carries the name its product gave it, so that importing again adds nothing and an interrupted import goes on.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from mcp_server.checks import checked
from mcp_server.importers import (
    chatgpt,
    claude,
    claude_code,
    markdown,
    mem0,
    own,
    server_memory,
)
from mcp_server.importers.bundle import Bundle, Member
from mcp_server.importers.detection import detect_in
from mcp_server.importers.drafts import FormatName, Item, Problem, without_future_turn
from mcp_server.model import TEXT_BYTES_MAX, Draft, Memory
from shared.clock import Clock
from shared.errors import InvalidError

__all__ = ["FORMATS", "FormatName", "Item", "Problem", "count", "detect", "read"]

FORMATS: dict[FormatName, str] = {
    "chatgpt": "ChatGPT's data export: the zip, its folder, or conversations.json.",
    "claude": "Claude's data export: the zip, its folder, or one of its JSON files.",
    "claude-code": "Claude Code's sessions: ~/.claude/projects, or one .jsonl file of it.",
    "server-memory": "The knowledge graph of the MCP reference memory server (memory.jsonl).",
    "markdown": "A folder of Markdown notes: plain, Obsidian, basic-memory, or exported by Sunaiva.",
    "mem0": "mem0's memories as JSON.",
    "jsonl": "Sunaiva's own export as JSON lines.",
    "zip": "Sunaiva's own zip export, encrypted or not.",
}

# A file of which nothing can be read after so many records is not what it was taken for.
PROBLEMS_BEFORE_GIVING_UP = 100
# Counting reads everything once; beyond this a progress bar is not worth the wait.
COUNTED_BYTES_MAX = 1_000_000_000
_COUNT_CHUNK_BYTES = 1_000_000
_MARK_BYTES_MAX = 64


class _Importer(Struct, frozen=True):
    read: Callable[[Bundle], Iterator[Item]]
    members: Callable[[Bundle], list[Member]]
    mark: re.Pattern[bytes]
    """Occurs about once for each memory; never longer than `_MARK_BYTES_MAX`."""


def detect(path: Path) -> FormatName:
    """What `path` is an export of.

    Raises:
        InvalidError: nothing known; the message lists what was looked for.
        NotFoundError: there is nothing at that path.
        CorruptError: a damaged zip.
    """
    if own.is_sealed(path):
        return "zip"
    with own.open_export(path, None) as bundle:
        return detect_in(bundle)


def read(
    path: Path, format: FormatName | None, *, clock: Clock, passphrase: str | None = None
) -> Iterator[Item]:
    """Everything in the export, one at a time; a record that cannot be used is a `Problem`.

    Raises, when called:
        InvalidError, NotFoundError: see `detect`; and for an unknown format.
    Raises, while being iterated:
        InvalidError: the file is not what it was taken for, or a newer Sunaiva wrote it.
        CorruptError: it is cut off or damaged. What came before is good, and a repeated import skips it.
        ForbiddenError: no passphrase for a sealed export, or a wrong one.
    """
    chosen = _known(format) if format is not None else detect(path)
    return _checked(_items(path, chosen, passphrase), path, chosen, clock)


def count(path: Path, format: FormatName) -> int | None:
    """About how many memories `read` will yield, for a progress bar; `None` when that is not cheap to know."""
    if own.is_sealed(path):
        return None
    importer = _importer(_known(format))
    with own.open_export(path, None) as bundle:
        members = importer.members(bundle)
        if sum(member.size for member in members) > COUNTED_BYTES_MAX:
            return None
        return sum(_occurrences(bundle, member, importer.mark) for member in members)


def _known(format: str) -> FormatName:
    for known in FORMATS:
        if format == known:
            return known
    raise InvalidError(f"There is no import format {format!r}. Choose one of {', '.join(FORMATS)}.")


def _importer(format: FormatName) -> _Importer:
    match format:
        case "chatgpt":
            return _Importer(chatgpt.read, chatgpt.members, re.compile(rb'"author"\s*:'))
        case "claude":
            return _Importer(claude.read, claude.members, re.compile(rb'"sender"\s*:'))
        case "claude-code":
            return _Importer(
                claude_code.read,
                claude_code.members,
                re.compile(rb'"type"\s*:\s*"(?:user|assistant)"'),
            )
        case "server-memory":
            return _Importer(
                server_memory.read, server_memory.members, re.compile(rb'"(?:name|to)"\s*:')
            )
        case "markdown":
            return _Importer(
                markdown.read,
                markdown.members,
                re.compile(rb"^(?:#{1,6} |<!-- sunaiva \{)", re.MULTILINE),
            )
        case "mem0":
            return _Importer(mem0.read, mem0.members, re.compile(rb'"memory"\s*:'))
        case "jsonl" | "zip":
            return _Importer(own.read, own.members, re.compile(rb"\n"))


def _items(path: Path, format: FormatName, passphrase: str | None) -> Iterator[Item]:
    with own.open_export(path, passphrase) as bundle:
        yield from _importer(format).read(bundle)


def _checked(items: Iterator[Item], path: Path, format: FormatName, clock: Clock) -> Iterator[Item]:
    """What no vault could keep becomes a problem here, for all importers alike."""
    now = clock()
    useful = 0
    problems: list[Problem] = []
    for item in items:
        problem = item if isinstance(item, Problem) else _objection(item)
        if problem is None:
            useful += 1
            yield from _truly_dated(item, now)
            continue
        yield problem
        if not useful:
            problems.append(problem)
        if len(problems) == PROBLEMS_BEFORE_GIVING_UP:
            break
    if problems and not useful:
        raise InvalidError(
            f"{path} could not be read as {format}: {problems[0].where}: {problems[0].why}. "
            "Check that it is the right file, or name another format."
        )


def _truly_dated(item: Item, now: datetime) -> Iterator[Item]:
    if isinstance(item, Draft) and (undated := without_future_turn(item, now)) is not None:
        yield Problem(
            f"{item.conversation}, turn {item.position}",
            f"dated {item.occurred_at:%Y-%m-%d}, in the future; imported without its date",
        )
        yield undated
    else:
        yield item


def _objection(item: Draft | Memory) -> Problem | None:
    """Why no vault could keep this text, if so. What left a vault once may hold a NUL, and end before it begins."""
    where = item.source.key or (item.id if isinstance(item, Memory) else "")
    if not item.text.strip():
        return Problem(where, "its text is empty")
    if isinstance(item, Draft) and "\0" in item.text:
        return Problem(where, "its text holds a NUL character")
    try:
        size = len(item.text.encode())
    except UnicodeEncodeError:
        return Problem(where, "its text holds half of a character (a lone surrogate)")
    if size > TEXT_BYTES_MAX:
        return Problem(where, f"its text is longer than {TEXT_BYTES_MAX:,} bytes")
    try:
        if isinstance(item, Memory):
            checked(replace(item, valid_from=None), "The memory")
        else:
            checked(item, "The memory")
    except InvalidError as error:
        return Problem(where, str(error))
    return None


def _occurrences(bundle: Bundle, member: Member, mark: re.Pattern[bytes]) -> int:
    found = 0
    rest = b""
    with bundle.open(member) as stream:
        while chunk := stream.read(_COUNT_CHUNK_BYTES):
            rest += chunk
            end = 0
            for each in mark.finditer(rest):
                found += 1
                end = each.end()
            # A mark may lie across two chunks, and none may be counted twice.
            rest = rest[max(end, len(rest) - _MARK_BYTES_MAX) :]
    return found
