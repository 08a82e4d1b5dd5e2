from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.exporters import ExportReport, lines
from mcp_server.importers import Item, Problem
from mcp_server.model import Link, Memory, Source
from shared.clock import from_ms
from shared.errors import InvalidError
from shared.ids import MemoryId

ids = st.uuids().map(lambda value: MemoryId(str(value)))
# What SQLite takes as text: everything but lone surrogates, so control characters, RTL marks and emoji too.
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
instants = st.integers(-62_000_000_000_000, 253_402_300_799_999).map(from_ms)

memories = st.builds(
    Memory,
    id=ids,
    text=words,
    source=st.builds(
        Source,
        trust=st.sampled_from(["said_by_user", "said_by_assistant", "tool_output", "imported"]),
        client=st.none() | words,
        tool=st.none() | words,
        key=st.none() | words,
    ),
    kind=st.sampled_from(["fact", "turn", "document", "summary"]),
    space=words,
    tags=st.frozensets(words, max_size=4).map(lambda tags: tuple(sorted(tags))),
    links=st.frozensets(st.builds(Link, words, ids), max_size=3).map(
        lambda links: tuple(sorted(links))
    ),
    occurred_at=st.none() | instants,
    valid_from=st.none() | instants,
    valid_to=st.none() | instants,
    speaker=st.none() | words,
    conversation=st.none() | words,
    position=st.none() | st.integers(0, 10_000),
    importance=st.floats(0, 1),
    pinned=st.booleans(),
    archived=st.booleans(),
    superseded_by=st.none() | ids,
    version=st.integers(1, 1_000),
    created_at=instants,
    updated_at=instants,
)


@given(memories)
def test_a_memory_comes_back_from_its_line_as_it_was(memory: Memory) -> None:
    assert lines.decode(lines.encode(memory)) == memory


@given(memories)
def test_a_line_is_one_line_and_always_the_same_bytes(memory: Memory) -> None:
    line = lines.encode(memory)
    assert line.count(b"\n") == 1
    assert lines.encode(lines.decode(line)) == line


@given(memories)
def test_a_line_has_sorted_keys_and_nothing_absent(memory: Memory) -> None:
    line = msgspec.json.decode(lines.encode(memory))
    assert list(line) == sorted(line)
    assert None not in line.values()
    assert [] not in line.values()


@pytest.mark.parametrize("format", ["jsonl", "zip"])
def test_export_import_export_is_byte_identical(
    format: str,
    tmp_path: Path,
    memory: Callable[..., Memory],
    export: Callable[..., ExportReport],
    read: Callable[..., list[Item]],
) -> None:
    vault = [memory(number, f"Noted {number}.", tags=("a", "b")) for number in range(50)]
    first, second = tmp_path / f"first.{format}", tmp_path / f"second.{format}"
    export(vault, first, format)
    again = read(first)
    export(again, second, format)
    assert again == vault
    assert first.read_bytes() == second.read_bytes()


def test_a_sealed_zip_comes_back_with_its_passphrase(
    tmp_path: Path,
    memory: Callable[..., Memory],
    export: Callable[..., ExportReport],
    read: Callable[..., list[Item]],
) -> None:
    vault = [memory(1, "The safe opens with 1234."), memory(2, "שלום 👋🏽")]
    sealed = tmp_path / "memories.zip.sealed"
    report = export(vault, sealed, "zip", passphrase="correct horse")
    assert report.encrypted
    assert b"safe" not in sealed.read_bytes()
    assert read(sealed, passphrase="correct horse") == vault


def test_the_documented_line_is_what_is_written(memory: Callable[..., Memory]) -> None:
    line = lines.encode(memory(1, importance=0.5, pinned=True))
    assert line == (
        b'{"created_at":"2026-03-01T12:00:00.000Z","id":"0199f2f4-9c1e-7a10-8f7e-000000000001",'
        b'"importance":0.5,"kind":"fact","pinned":true,"source":{"client":"claude-desktop",'
        b'"tool":"remember","trust":"said_by_user"},"space":"personal","text":"Likes green tea.",'
        b'"updated_at":"2026-03-01T12:00:00.000Z","version":1}\n'
    )


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"mood": "good"}, "unknown field"),
        ({"kind": "opinion"}, "opinion"),
        ({"id": "17"}, "not a memory id"),
        ({"created_at": "yesterday"}, "not an instant"),
        ({"created_at": "2026-03-01T12:00:00.000"}, "not an instant"),
        ({"importance": 7}, "importance"),
        ({"version": 0}, "version"),
        ({"text": None}, "text"),
    ],
    ids=["field", "kind", "id", "no-instant", "no-zone", "importance", "version", "no-text"],
)
def test_a_line_that_no_vault_wrote_is_refused(
    wrong: dict[str, object], why: str, memory: Callable[..., Memory]
) -> None:
    line = msgspec.json.decode(lines.encode(memory(1))) | wrong
    with pytest.raises(InvalidError, match=why):
        lines.decode(msgspec.json.encode(line))


def test_a_broken_line_is_a_problem_and_the_others_come_in(
    tmp_path: Path,
    memory: Callable[..., Memory],
    export: Callable[..., ExportReport],
    read: Callable[..., list[Item]],
) -> None:
    path = tmp_path / "memories.jsonl"
    export([memory(1), memory(2), memory(3)], path, "jsonl")
    written = path.read_bytes().splitlines(keepends=True)
    written[2] = written[2].replace(b"green", b"\xff\xfe")
    path.write_bytes(b"".join(written))
    one, problem, three = read(path)
    assert (one, three) == (memory(1), memory(3))
    assert isinstance(problem, Problem)
    assert problem.where == "memories.jsonl, line 3"
    assert "not valid UTF-8" in problem.why


@pytest.mark.parametrize(
    ("text", "why"), [(" \n", "empty"), ("ü" * 600_000, "longer than")], ids=["empty", "long"]
)
def test_a_memory_that_no_vault_can_hold_is_a_problem(
    text: str,
    why: str,
    tmp_path: Path,
    memory: Callable[..., Memory],
    export: Callable[..., ExportReport],
    read: Callable[..., list[Item]],
) -> None:
    path = tmp_path / "memories.jsonl"
    export([memory(1, text), memory(2)], path, "jsonl")
    problem, two = read(path)
    assert two == memory(2)
    assert isinstance(problem, Problem)
    assert why in problem.why
