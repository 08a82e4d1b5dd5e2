import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mcp_server.importers import Item, Problem
from mcp_server.model import Draft, Source

Drafts = Callable[..., list[Draft]]

ENTITY = {
    "type": "entity",
    "name": "Zoë",
    "entityType": "person",
    "observations": ["Grows tomatoes", "Speaks Greek"],
}
BARE = {"type": "entity", "name": "Lisbon", "entityType": "city", "observations": []}
RELATION = {"type": "relation", "from": "Zoë", "to": "Lisbon", "relationType": "moved to"}


@pytest.mark.parametrize(
    "written",
    [
        "\n".join(map(json.dumps, [ENTITY, BARE, RELATION])),
        json.dumps({"entities": [ENTITY, BARE], "relations": [RELATION]}, indent=2),
        json.dumps([ENTITY, BARE, RELATION]),
    ],
    ids=["lines", "graph", "list"],
)
def test_observations_and_relations_become_facts(
    written: str, folder: Callable[..., Path], drafts: Drafts
) -> None:
    found = drafts(folder({"memory.json": written}) / "memory.json")
    assert [(draft.kind, draft.text, draft.tags) for draft in found] == [
        ("fact", "Zoë: Grows tomatoes", ("person",)),
        ("fact", "Zoë: Speaks Greek", ("person",)),
        ("fact", "Lisbon: city", ("city",)),
        ("fact", "Zoë moved to Lisbon", ()),
    ]
    assert {draft.source.trust for draft in found} == {"imported"}


def test_a_graph_written_in_another_order_has_the_same_keys(
    folder: Callable[..., Path], drafts: Drafts
) -> None:
    one = drafts(folder({"a.jsonl": "\n".join(map(json.dumps, [ENTITY, RELATION]))}))
    other = drafts(folder({"a.jsonl": "\n".join(map(json.dumps, [RELATION, ENTITY]))}))
    assert {draft.source.key for draft in one} == {draft.source.key for draft in other}


MEM0 = {
    "id": "f4cbdb08-7062-4f3e-8eb2-9f5c80dfe64c",
    "memory": "Prefers morning meetings",
    "hash": "x",
    "user_id": "zoe",
    "metadata": {"type": "preference", "nested": {"a": 1}},
    "categories": ["work", "habits"],
    "created_at": "2024-07-26T10:29:36.630547-07:00",
    "updated_at": None,
}


@pytest.mark.parametrize("wrapped", [[MEM0], {"results": [MEM0]}, {"count": 1, "results": [MEM0]}])
def test_mem0s_memories_become_facts(
    wrapped: object, folder: Callable[..., Path], drafts: Drafts
) -> None:
    assert drafts(folder({"mem0.json": json.dumps(wrapped)}) / "mem0.json") == [
        Draft(
            text="Prefers morning meetings",
            source=Source(
                trust="imported",
                client="sunaiva import",
                tool="mem0",
                key="mem0:f4cbdb08-7062-4f3e-8eb2-9f5c80dfe64c",
            ),
            kind="fact",
            tags=("work", "habits", "user:zoe", "type:preference"),
            occurred_at=datetime(2024, 7, 26, 17, 29, 36, 630_000, UTC),
        )
    ]


def test_a_mem0_record_without_a_memory_is_a_problem(
    folder: Callable[..., Path], read: Callable[..., list[Item]]
) -> None:
    items = read(folder({"m.json": json.dumps([MEM0, {"id": "1", "memory": None}])}))
    assert isinstance(items[1], Problem)
    assert len(items) == 2
