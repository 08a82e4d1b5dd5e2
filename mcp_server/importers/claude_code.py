"""Claude Code's sessions: `~/.claude/projects/**/*.jsonl`, or one of these files.

What the person typed and what Claude answered in words. Tool calls and results, side chains of sub-agents, thinking,
and what the program itself put into the person's mouth (commands, reminders, summaries) are left out.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from mcp_server.importers import fields
from mcp_server.importers.bundle import Bundle, Member
from mcp_server.importers.drafts import (
    SPEAKERS,
    Item,
    Problem,
    Turn,
    conversation_name,
    digest,
    moment,
    tags,
    turn_drafts,
)
from mcp_server.importers.records import lines

_NOT_SAID = (
    "isSidechain",
    "isMeta",
    "isCompactSummary",
    "isVisibleInTranscriptOnly",
    "isApiErrorMessage",
)
_PUT_IN_MOUTH = re.compile(
    r"\s*(<(command-|local-command-|bash-|system-reminder>|task-notification>|user-memory-input>)"
    r"|\[Request interrupted by user)"
)
_TITLE_CHARS_MAX = 60


def read(bundle: Bundle) -> Iterator[Item]:
    # A session goes on in another file when it is resumed, so these outlive a file.
    names: dict[str, str] = {}
    positions: dict[str, int] = {}
    for member in members(bundle):
        with bundle.open(member) as stream:
            for record in lines(stream, member.name):
                if isinstance(record, Problem):
                    yield record
                    continue
                session = fields.text(record, "sessionId") or PurePosixPath(member.name).stem
                turn = _turn(record, session)
                if turn is None:
                    continue
                project = _project(record)
                if session not in names:
                    names[session] = _name(turn.text, project, session)
                drafts = turn_drafts(
                    turn,
                    "claude-code",
                    conversation=names[session],
                    position=positions.get(session, 0),
                    tags=tags(project),
                )
                positions[session] = positions.get(session, 0) + len(drafts)
                yield from drafts


def members(bundle: Bundle) -> list[Member]:
    if len(bundle.members) == 1:
        return bundle.members
    return [
        each
        for each in bundle.members
        if each.base.endswith(".jsonl") and not each.base.startswith("agent-")
    ]


def _turn(record: object, session: str) -> Turn | None:
    if not isinstance(record, dict) or any(record.get(mark) for mark in _NOT_SAID):
        return None
    speaker = SPEAKERS.get(fields.text(record, "type"))
    if speaker is None:
        return None
    text = _said(fields.mapping(record, "message"))
    if not text.strip() or (speaker == "user" and _PUT_IN_MOUTH.match(text)):
        return None
    at = fields.text(record, "timestamp")
    # A resumed session repeats its history under a new session id, but with the ids of the messages.
    key = fields.text(record, "uuid") or f"{session}:{digest(at or '', text)}"
    return Turn(key=key, speaker=speaker, text=text, at=moment(at))


def _said(message: dict[Any, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    blocks = [
        fields.text(block, "text") or ""
        for block in fields.items(message, "content")
        if isinstance(block, dict) and block.get("type") == "text"
    ]
    return "\n\n".join(
        block for block in blocks if block and not block.lstrip().startswith("<system-reminder>")
    )


def _project(record: dict[str, Any]) -> str | None:
    folder = fields.text(record, "cwd")
    if folder is None:
        return None
    return PureWindowsPath(folder).name if "\\" in folder else PurePosixPath(folder).name


def _name(first_words: str, project: str | None, session: str) -> str:
    """Claude Code's own titles change with every session; the first words of one do not."""
    words = " ".join(first_words.split())
    title = words if len(words) <= _TITLE_CHARS_MAX else words[: _TITLE_CHARS_MAX - 1] + "…"
    return conversation_name(f"{project}: {title}" if project else title, "Claude Code", session)
