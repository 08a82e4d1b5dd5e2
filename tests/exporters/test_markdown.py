from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from mcp_server import exporters, importers
from mcp_server.exporters import ExportReport
from mcp_server.exporters.markdown import escape, unescape
from mcp_server.model import Draft, Memory, Source
from shared.clock import from_ms


@given(st.lists(st.sampled_from(["<!-- sunaiva ", "\\", "\n", "x", '{"id":1} -->'])).map("".join))
def test_a_text_that_looks_like_a_block_comes_back(text: str) -> None:
    assert unescape(escape(text)) == text
    assert not escape(text).startswith("<!-- sunaiva ")


def test_a_conversation_is_one_file_with_its_turns_in_order(
    tmp_path: Path, memory: Callable[..., Memory], export: Callable[..., ExportReport]
) -> None:
    def turn(number: int, position: int, speaker: str, text: str) -> Memory:
        return memory(
            number,
            text,
            kind="turn",
            conversation="Trip to Lisbon",
            position=position,
            speaker=speaker,
            occurred_at=from_ms(1_772_366_400_000),
        )

    # Stored in the other order than they were said.
    report = export(
        [turn(1, 1, "assistant", "Take the tram."), turn(2, 0, "user", "How do I get up?")],
        tmp_path / "out",
        "markdown",
    )
    (file,) = (tmp_path / "out" / "personal").iterdir()
    said = file.read_text()
    assert report.memories == 2
    assert said.startswith(
        "---\nsunaiva: memories\nspace: personal\nconversation: Trip to Lisbon\n---\n\n# Trip to Lisbon\n"
    )
    assert said.index("How do I get up?") < said.index("Take the tram.")
    assert "**user** · 2026-03-01 12:00\n\nHow do I get up?\n" in said


def test_what_belongs_to_no_conversation_is_a_file_a_day(
    tmp_path: Path, memory: Callable[..., Memory], export: Callable[..., ExportReport]
) -> None:
    day = 86_400_000
    vault = [
        memory(1, occurred_at=from_ms(0)),
        memory(2, occurred_at=from_ms(day)),
        memory(3, occurred_at=from_ms(1)),
        memory(4, space="work/secret"),
    ]
    export(vault, tmp_path / "out", "markdown")
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("*.md"))
    assert files[0] == "README.md"
    assert files[1:3] == ["personal/1970-01-01.md", "personal/1970-01-02.md"]
    assert files[3].startswith("work-secret ")


def test_names_that_differ_only_in_case_or_forbidden_characters_stay_apart(
    tmp_path: Path, memory: Callable[..., Memory], export: Callable[..., ExportReport]
) -> None:
    names = [
        "2026-03-01",
        "Tea",
        "tea",
        "a/b",
        "a:b",
        "..",
        "con",
        "CON",
        "ü" * 200,
        "👋" * 150,
        "x.",
    ]
    vault = [memory(number, conversation=name) for number, name in enumerate([*names, None])]
    export(vault, tmp_path / "out", "markdown")
    files = {path.name.casefold() for path in (tmp_path / "out" / "personal").iterdir()}
    assert len(files) == len(names) + 1
    assert all(len(name.encode()) <= 255 for name in files)


# Without NUL, which importers refuse from anything but a vault's own loss-free export.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(str.strip)
names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)

entries = st.builds(
    Memory,
    id=st.integers(1, 2**48).map(lambda n: f"0199f2f4-9c1e-7a10-8f7e-{n:012x}"),
    text=texts,
    source=st.just(Source(trust="said_by_assistant")),
    kind=st.sampled_from(["fact", "turn", "note"]),
    space=names,
    tags=st.frozensets(names | st.just("-->"), max_size=3).map(lambda tags: tuple(sorted(tags))),
    links=st.just(()),
    occurred_at=st.none() | st.integers(0, 4_000_000_000_000).map(from_ms),
    valid_from=st.none(),
    valid_to=st.none(),
    speaker=st.none() | names,
    conversation=st.none() | names,
    position=st.none() | st.integers(0, 100),
    importance=st.just(0.5),
    pinned=st.just(False),
    archived=st.booleans(),
    superseded_by=st.none(),
    version=st.just(1),
    created_at=st.integers(0, 4_000_000_000_000).map(from_ms),
    updated_at=st.just(from_ms(0)),
)


@given(st.lists(entries, min_size=1, max_size=6, unique_by=lambda entry: entry.id))
def test_the_importer_finds_every_text_again_exactly(vault: list[Memory]) -> None:
    vault.sort(key=lambda entry: entry.id)
    with TemporaryDirectory() as folder:
        out = Path(folder, "out")
        exporters.write(iter(vault), out, "markdown", clock=lambda: from_ms(0))
        items = list(importers.read(out, None, clock=lambda: from_ms(4_000_000_000_000)))
    found = {item.source.key: item for item in items if isinstance(item, Draft)}
    assert found == {f"markdown:{entry.id}": _as_draft(entry) for entry in vault}


def _as_draft(entry: Memory) -> Draft:
    return Draft(
        text=entry.text,
        source=Source(
            trust="said_by_assistant",
            client="sunaiva import",
            tool="markdown",
            key=f"markdown:{entry.id}",
        ),
        kind=entry.kind,
        space=entry.space,
        tags=entry.tags,
        occurred_at=entry.occurred_at,
        speaker=entry.speaker,
        conversation=entry.conversation,
        position=entry.position,
        archived=entry.archived,
    )


def test_a_comment_changed_by_hand_is_a_problem_and_the_others_come_in(
    tmp_path: Path, memory: Callable[..., Memory], export: Callable[..., ExportReport]
) -> None:
    out = tmp_path / "out"
    export([memory(1, "One."), memory(2, "Two.")], out, "markdown")
    (file,) = (out / "personal").iterdir()
    file.write_text(file.read_text().replace('"kind":"fact"', '"kind":"opinion"', 1))
    problem, two = importers.read(out, None, clock=lambda: from_ms(0))
    assert isinstance(problem, importers.Problem)
    assert "opinion" in problem.why
    assert isinstance(two, Draft)
    assert two.text == "Two."
