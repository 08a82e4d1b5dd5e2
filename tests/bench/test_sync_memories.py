"""What `bench sync` measures with: memories of 300 characters that no two share, the same for the same seed, and two devices."""

import json
from pathlib import Path

from bench.sync import vaults
from bench.sync.memories import NAMES, made_up, memories, of_file
from sync_service.changes import ops
from sync_service.sealed import frames


def test_memories_are_300_characters_of_six_fields_and_follow_from_the_seed() -> None:
    said = made_up(50, 7)
    assert {len(text) for text in said} == {300}
    assert len(set(said)) == 50
    made = memories(said, 50, 7)
    assert made == memories(said, 50, 7)
    assert [one.id for one in made] == sorted(one.id for one in made)
    said_of = [op for one in made if isinstance(op := one.op(), ops.Set)]
    assert [len(op.fields) for op in said_of] == [len(NAMES)] * 50


def test_what_was_said_in_a_file_is_divided_without_loss(tmp_path: Path) -> None:
    texts = ["a" * 250, "b" * 100, "c" * 400]
    docs = [
        {"id": str(number), "session": "s", "idx": number, "who": "Ann", "ts": "", "text": text}
        for number, text in enumerate(texts)
    ]
    path = tmp_path / "said.json"
    path.write_text(
        json.dumps({"name": "said", "scopes": [{"id": "x", "docs": docs, "queries": []}]})
    )
    found = of_file(path, 10)
    assert [len(text) for text in found] == [300, 300]
    assert "".join(found) == f"{'a' * 250} {'b' * 100} {'c' * 400}"[:600]


def test_what_the_writer_seals_the_reader_opens() -> None:
    circle = vaults.circle()
    said = [one.op() for one in memories(made_up(3, 7), 3, 7)]
    frame = vaults.Writer(circle).seal(said)
    content = ops.decode_content(frames.open_frame(frame, vaults.EPOCH_KEY))
    assert list(content.ops) == said
