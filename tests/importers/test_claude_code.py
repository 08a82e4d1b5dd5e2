import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcp_server.importers import Item, Problem
from mcp_server.model import Draft, Source

Drafts = Callable[..., list[Draft]]
SESSION = "1a2b3c4d-0885-4d8b-8427-0f09a0c1a94f"


def line(
    uuid: str, type: str, content: object, session: str = SESSION, **more: Any
) -> dict[str, Any]:
    return {
        "parentUuid": None,
        "isSidechain": False,
        "userType": "external",
        "cwd": "/home/zoe/projects/garden",
        "sessionId": session,
        "version": "2.1.37",
        "gitBranch": "main",
        "type": type,
        "message": {"role": type, "content": content},
        "uuid": uuid,
        "timestamp": "2026-02-08T10:37:44.548Z",
    } | more


def session(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


WHOLE = session(
    {"type": "summary", "summary": "Garden planner", "leafUuid": "x"},
    {"type": "file-history-snapshot", "messageId": "x", "snapshot": {}},
    line("meta", "user", "Caveat: the messages below", isMeta=True),
    line("command", "user", "<command-name>/clear</command-name>"),
    line("u1", "user", "Add a watering plan.\nPlease."),
    line("a1", "assistant", [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]),
    line("a2", "assistant", [{"type": "text", "text": "I'll add it."}]),
    line("a3", "assistant", [{"type": "tool_use", "id": "t", "name": "Edit", "input": {}}]),
    line(
        "u2",
        "user",
        [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}],
        toolUseResult={},
    ),
    line("side", "user", "Search everything.", isSidechain=True),
    line("compact", "user", "This session is being continued", isCompactSummary=True),
    line(
        "u3",
        "user",
        [
            {"type": "text", "text": "<system-reminder>be nice</system-reminder>"},
            {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
            {"type": "text", "text": "Does it look right?"},
        ],
    ),
    line("stop", "user", [{"type": "text", "text": "[Request interrupted by user]"}]),
    {"type": "system", "subtype": "turn_duration", "sessionId": SESSION},
)


def test_only_what_was_typed_and_answered_comes_in(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    root = folder(
        {
            f"-home-zoe-projects-garden/{SESSION}.jsonl": WHOLE,
            "-home-zoe-projects-garden/agent-32335b9b.jsonl": session(line("x", "user", "Agent.")),
            "-home-zoe-projects-garden/memory/MEMORY.md": "# Notes",
        }
    )
    found = drafts(root)
    assert [(draft.speaker, draft.text) for draft in found] == [
        ("user", "Add a watering plan.\nPlease."),
        ("assistant", "I'll add it."),
        ("user", "Does it look right?"),
    ]
    assert found[0] == Draft(
        text="Add a watering plan.\nPlease.",
        source=Source(
            trust="said_by_user",
            client="sunaiva import",
            tool="claude-code",
            key="claude-code:u1",
        ),
        kind="turn",
        tags=("garden",),
        occurred_at=datetime(2026, 2, 8, 10, 37, 44, 548_000, UTC),
        speaker="user",
        conversation="garden: Add a watering plan. Please. · Claude Code/1a2b3c4d",
        position=0,
    )


def test_a_single_session_file_is_recognised(folder: Callable[..., Path], drafts: Drafts) -> None:
    assert len(drafts(folder({f"{SESSION}.jsonl": WHOLE}) / f"{SESSION}.jsonl")) == 3


def test_a_resumed_session_repeats_its_history_under_the_same_keys(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    first = [line("u1", "user", "Hello."), line("a1", "assistant", "Hi.")]
    again = [record | {"sessionId": "ffffffff-1"} for record in first]
    root = folder(
        {"p/1.jsonl": session(*first), "p/2.jsonl": session(*again, line("u2", "user", "More."))}
    )
    assert len({draft.source.key for draft in drafts(root)}) == 3


def test_a_session_in_two_files_counts_on(folder: Callable[..., Path], drafts: Drafts) -> None:
    root = folder(
        {
            "p/1.jsonl": session(line("u1", "user", "Hello.")),
            "p/2.jsonl": session(line("u2", "user", "Again.")),
        }
    )
    one, two = drafts(root)
    assert (one.position, two.position) == (0, 1)
    assert one.conversation == two.conversation


def test_a_torn_last_line_is_a_problem_and_the_rest_comes_in(
    folder: Callable[..., Path], read: Callable[..., list[Item]]
) -> None:
    torn = WHOLE + '{"type":"user","message":{"role":"us'
    items = read(folder({"s.jsonl": torn}))
    assert len([item for item in items if isinstance(item, Draft)]) == 3
    (problem,) = [item for item in items if isinstance(item, Problem)]
    assert problem.where == f"s.jsonl, line {torn.count(chr(10)) + 1}"


def test_a_windows_project_gives_its_name(folder: Callable[..., Path], drafts: Drafts) -> None:
    record = line("u1", "user", "Hello.", cwd=r"C:\Users\Zoe\garden")
    (draft,) = drafts(folder({"s.jsonl": session(record)}))
    assert draft.tags == ("garden",)
