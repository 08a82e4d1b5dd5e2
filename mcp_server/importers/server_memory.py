"""The knowledge graph of the reference memory server: entities with observations, and relations between them."""

from collections.abc import Iterator
from typing import Any

from mcp_server.importers import fields
from mcp_server.importers.bundle import Bundle, Member
from mcp_server.importers.drafts import Item, Problem, digest, in_parts, source, tags
from mcp_server.importers.records import records_in
from mcp_server.model import Draft


def read(bundle: Bundle) -> Iterator[Item]:
    for where, record in records_in(bundle, members(bundle)):
        yield from _record(record, where)


def members(bundle: Bundle) -> list[Member]:
    if len(bundle.members) == 1:
        return bundle.members
    return [each for each in bundle.members if each.base.endswith((".jsonl", ".json"))]


def _record(record: object, where: str) -> Iterator[Item]:
    if isinstance(record, Problem):
        yield record
        return
    # The file has one entity or relation a line; the answer of `read_graph` has them in two lists.
    entities = fields.items(record, "entities") or [record]
    relations = fields.items(record, "relations") or [record]
    drafts = [draft for entity in entities for draft in _observations(entity)]
    drafts += [draft for relation in relations for draft in _relation(relation)]
    yield from drafts
    if not drafts:
        yield Problem(where, "a record that is neither an entity nor a relation")


def _observations(entity: Any) -> Iterator[Draft]:
    name = fields.text(entity, "name")
    kind = fields.text(entity, "entityType")
    if name is None or (kind is None and not fields.items(entity, "observations")):
        return
    observations = [each for each in fields.items(entity, "observations") if isinstance(each, str)]
    for observation in observations or [kind or "known, nothing more"]:
        yield from _fact(f"{name}: {observation}", digest("entity", name, observation), kind)


def _relation(relation: Any) -> Iterator[Draft]:
    first, second = fields.text(relation, "from"), fields.text(relation, "to")
    kind = fields.text(relation, "relationType")
    if first is not None and second is not None and kind is not None:
        yield from _fact(f"{first} {kind} {second}", digest("relation", first, kind, second), None)


def _fact(text: str, key: str, tag: str | None) -> Iterator[Draft]:
    draft = Draft(
        text=text,
        source=source("server-memory", key, "imported"),
        kind="fact",
        tags=tags(tag),
    )
    return in_parts(draft)
