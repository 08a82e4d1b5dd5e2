"""mem0's memories as JSON: what its `get_all` returns or an export holds, as a list or under `results`.

mem0 lets a model rewrite what was said, so none of these texts counts as anybody's own words.
"""

from collections.abc import Iterator
from typing import Any

from mcp_server.importers import fields
from mcp_server.importers.bundle import Bundle, Member
from mcp_server.importers.drafts import Item, Problem, digest, in_parts, moment, source, tags
from mcp_server.importers.records import records_in
from mcp_server.model import Draft

_OWNERS = {"user_id": "user", "agent_id": "agent", "app_id": "app", "run_id": "run"}
_LISTS = ("results", "memories", "data")


def read(bundle: Bundle) -> Iterator[Item]:
    for where, record in records_in(bundle, members(bundle)):
        listed = [each for name in _LISTS for each in fields.items(record, name)]
        for memory in listed or [record]:
            yield from _memory(memory, where)


def members(bundle: Bundle) -> list[Member]:
    if len(bundle.members) == 1:
        return bundle.members
    return [each for each in bundle.members if each.base.endswith((".json", ".jsonl"))]


def _memory(record: Any, where: str) -> Iterator[Item]:
    if isinstance(record, Problem):
        yield record
        return
    text = fields.text(record, "memory") or fields.text(record, "text")
    if text is None:
        yield Problem(where, "a record without a memory in it")
        return
    owners = [
        f"{owner}:{fields.text(record, field)}"
        for field, owner in _OWNERS.items()
        if fields.text(record, field)
    ]
    key = fields.text(record, "id") or digest(text, *owners)
    draft = Draft(
        text=text,
        source=source("mem0", key, "imported"),
        kind="fact",
        tags=tags(*_categories(record), *owners, *_metadata(record)),
        occurred_at=moment(record.get("created_at")),
    )
    yield from in_parts(draft)


def _categories(record: Any) -> list[str]:
    return [each for each in fields.items(record, "categories") if isinstance(each, str)]


def _metadata(record: Any) -> list[str]:
    return [
        f"{name}:{value}"
        for name, value in fields.mapping(record, "metadata").items()
        if isinstance(value, str | int | float)
    ]
