"""Every question the device asks the vault, against what a list of memories would answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import sqlcipher3.dbapi2 as driver
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from mcp_server.model import Kind, Link, Memory, Source, Trust
from mcp_server.vault import store
from mcp_server.vault.db import DATABASE_NAME
from mcp_server.vault.store import Row, Selection, SpaceCount
from shared.clock import whole_milliseconds
from shared.ids import short_id
from tests.builders import NOON, memory, new_id, vault_at

DIGEST = b"d" * 16


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vault") / DATABASE_NAME


class _Undone(Exception):  # noqa: N818 (it is no error)
    pass


@contextmanager
def empty(path: Path) -> Iterator[Database]:
    """A writing connection whose changes are undone in the end."""
    try:
        with vault_at(path) as vault, vault.writing() as db:
            yield db
            raise _Undone
    except _Undone:
        pass


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    with empty(path) as db:
        yield db


def put(db: Database, *memories: Memory, digest: bytes = DIGEST) -> list[Row]:
    return [Row(store.insert(db, each, digest), each) for each in memories]


moments = st.datetimes(timezones=st.just(UTC)).map(whole_milliseconds)
maybe_moments = st.none() | moments
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
maybe_words = st.none() | words
ids = st.uuids().map(str)


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    links = draw(st.lists(st.builds(Link, words, ids), max_size=4))
    return memory(
        draw(words),
        source=Source(
            trust=draw(st.sampled_from(get_args(Trust))),
            client=draw(maybe_words),
            tool=draw(maybe_words),
            key=draw(st.none() | st.uuids().map(lambda each: each.hex)),
        ),
        kind=draw(st.sampled_from(get_args(Kind))),
        space=draw(words),
        tags=tuple(sorted(draw(st.sets(words, max_size=4)), key=lambda tag: tag.encode())),
        links=tuple(sorted(set(links), key=lambda link: (link.relation.encode(), link.target))),
        occurred_at=draw(maybe_moments),
        valid_from=draw(maybe_moments),
        valid_to=draw(maybe_moments),
        speaker=draw(maybe_words),
        conversation=draw(maybe_words),
        position=draw(st.none() | st.integers(0, 2**40)),
        importance=draw(st.floats(0, 1)),
        pinned=draw(st.booleans()),
        archived=draw(st.booleans()),
        superseded_by=draw(st.none() | ids),
        version=draw(st.integers(1, 2**40)),
        created_at=draw(moments),
        updated_at=draw(moments),
    )


@given(stored=memories())
def test_what_is_stored_comes_back_as_it_was(path: Path, stored: Memory) -> None:
    with empty(path) as db:
        (row,) = put(db, stored)
        assert store.by_id(db, stored.id) == row
        assert store.by_short_id(db, short_id(stored.id)) == [row]
        assert store.by_rows(db, [row.row]) == {row.row: stored}
        if stored.source.key is not None:
            assert store.by_key(db, stored.source.key) == row


@given(before=memories(), after=memories())
def test_an_update_changes_what_may_change_and_nothing_else(
    path: Path, before: Memory, after: Memory
) -> None:
    with empty(path) as db:
        (row,) = put(db, before)
        store.update(db, row.row, after)
        kept = {
            name: getattr(before, name)
            for name in (
                "id text source occurred_at speaker conversation position created_at".split()
            )
        }
        found = store.by_id(db, before.id)
        assert found is not None
        assert found.memory == msgspec.structs.replace(after, **kept)


def test_what_is_not_there_is_none(db: Database) -> None:
    assert store.by_id(db, new_id()) is None
    assert store.by_key(db, "unheard of") is None
    assert store.by_digest(db, DIGEST, "personal") is None
    assert store.by_short_id(db, "0123456789") == []
    assert store.by_rows(db, []) == {}
    assert store.by_rows(db, [17]) == {}


def test_two_memories_of_one_short_id_are_both_told(db: Database) -> None:
    one = memory("one", id="0199f2f4-9c1e-7a10-8f7e-00aabbccddee")
    two = memory("two", id="0199f2f4-9c1e-7a10-8f7e-11aabbccddee")
    put(db, one, two)
    assert [row.memory for row in store.by_short_id(db, "aabbccddee")] == [one, two]


@pytest.mark.parametrize(
    "fields", [{"id": new_id()}, {"source": Source(trust="imported", key="k")}]
)
def test_an_id_and_a_key_name_one_memory(db: Database, fields: dict[str, Any]) -> None:
    put(db, memory("first", **fields))
    with pytest.raises(driver.IntegrityError):
        put(db, memory("second", **fields))


@pytest.mark.parametrize(
    "fields", [{"importance": 1.5}, {"importance": -0.1}, {"space": ""}, {"version": 0}]
)
def test_the_vault_itself_refuses_what_no_memory_can_be(
    db: Database, fields: dict[str, Any]
) -> None:
    with pytest.raises(driver.IntegrityError):
        put(db, memory("impossible", **fields))


def test_the_same_words_are_known_only_as_a_present_note_of_the_space(db: Database) -> None:
    put(
        db,
        memory("tea", archived=True),
        memory("tea", superseded_by=new_id()),
        memory("tea", conversation="talk", position=0),
        memory("tea", space="work"),
    )
    assert store.by_digest(db, DIGEST, "personal") is None
    first, _ = put(db, memory("tea"), memory("tea"))
    assert store.by_digest(db, DIGEST, "personal") == first
    assert store.by_digest(db, b"e" * 16, "personal") is None


def test_a_chain_of_corrections_is_followed_to_its_beginning(db: Database) -> None:
    newest = memory("third")
    middle = memory("second", superseded_by=newest.id)
    oldest = memory("first", superseded_by=middle.id)
    other = memory("first again", superseded_by=middle.id)
    put(db, oldest, other, middle, newest, memory("unrelated"))

    def chain(of: Memory) -> list[Memory]:
        return [row.memory for row in store.superseded_chain(db, of.id)]

    assert chain(newest) == [middle, other, oldest]
    assert chain(middle) == [other, oldest]
    assert chain(oldest) == []


def test_a_circle_of_corrections_ends(db: Database) -> None:
    one, two = memory("one"), memory("two")
    one = msgspec.structs.replace(one, superseded_by=two.id)
    two = msgspec.structs.replace(two, superseded_by=one.id)
    put(db, one, two)
    assert [row.memory for row in store.superseded_chain(db, one.id)] == [two]


def test_a_conversation_comes_in_order_one_space_after_the_other(db: Database) -> None:
    turns = [
        memory(f"{space} {position}", space=space, conversation="talk", position=position)
        for space, position in [("b", 2), ("a", 1), ("b", 0), ("a", 0), ("b", 1)]
    ]
    put(db, *turns, memory("elsewhere", conversation="other", position=0))
    found = [row.memory.text for row in store.conversation_turns(db, "talk", limit=10)]
    assert found == ["a 0", "a 1", "b 0", "b 1", "b 2"]
    assert len(store.conversation_turns(db, "talk", limit=3)) == 3
    assert store.next_position(db, "talk", "a") == 2
    assert store.next_position(db, "talk", "b") == 3
    assert store.next_position(db, "talk", "c") == 0


def test_what_is_deleted_leaves_nothing_that_names_it(db: Database) -> None:
    gone = memory("gone", tags=("secret",), superseded_by=new_id())
    gone = msgspec.structs.replace(gone, links=(Link("about", new_id()),))
    pointing = memory("pointing", links=(Link("about", gone.id), Link("about", new_id())))
    older = memory("older", superseded_by=gone.id)
    gone_row, pointing_row, older_row = put(db, gone, pointing, older)
    db.execute("INSERT INTO models (number, name) VALUES (1, 'm')")
    db.execute("INSERT INTO vectors VALUES (?, 1, x'00')", [gone_row.row])
    for pair in ([gone, pointing], [older, gone]):
        db.execute(
            "INSERT INTO findings (relation, first, second, noticed_ms) VALUES ('near_duplicate', ?, ?, 0)",
            [store.as_bytes(each.id) for each in pair],
        )
    store.delete(db, gone_row.row, gone.id)
    left = [link for link in pointing.links if link.target != gone.id]
    assert store.by_rows(db, [gone_row.row, pointing_row.row, older_row.row]) == {
        pointing_row.row: msgspec.structs.replace(pointing, links=tuple(left)),
        older_row.row: msgspec.structs.replace(older, superseded_by=None),
    }
    for table in ("tags", "vectors", "findings"):
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    (again,) = put(db, memory("a row number is never used twice"))
    assert again.row > older_row.row


spaces = st.sampled_from(["home", "work"])
tags = st.sampled_from(["red", "blue"])
kinds = st.sampled_from(["fact", "note", "decision"])
hours = st.integers(0, 4).map(lambda hour: NOON + timedelta(hours=hour))
described = st.builds(
    memory,
    st.just("text"),
    id=ids,
    space=spaces,
    kind=kinds,
    tags=st.sets(tags).map(lambda chosen: tuple(sorted(chosen))),
    conversation=st.sampled_from([None, "talk"]),
    occurred_at=st.none() | hours,
    created_at=hours,
    archived=st.booleans(),
    pinned=st.booleans(),
    superseded_by=st.none() | ids,
)
selections = st.builds(
    Selection,
    spaces=st.none() | st.sets(spaces).map(tuple),
    kinds=st.none() | st.sets(kinds).map(tuple),
    tags=st.none() | st.sets(tags).map(tuple),
    conversation=st.sampled_from([None, "talk", "silence"]),
    since=st.none() | hours,
    until=st.none() | hours,
    superseded=st.booleans(),
)


def meets(each: Memory, wanted: Selection) -> bool:
    when = each.occurred_at or each.created_at
    return (
        (wanted.spaces is None or each.space in wanted.spaces)
        and (wanted.kinds is None or each.kind in wanted.kinds)
        and (wanted.tags is None or set(wanted.tags) <= set(each.tags))
        and (wanted.conversation is None or each.conversation == wanted.conversation)
        and (wanted.since is None or when >= wanted.since)
        and (wanted.until is None or when < wanted.until)
        and (wanted.superseded or (each.superseded_by is None and not each.archived))
    )


def _newest_first(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.memory.id, reverse=True)


@given(
    stored=st.lists(described, max_size=12, unique_by=lambda each: each.id),
    wanted=selections,
    size=st.integers(1, 5),
)
def test_pages_of_a_selection_together_are_what_meets_it(
    path: Path, stored: list[Memory], wanted: Selection, size: int
) -> None:
    with empty(path) as db:
        rows = put(db, *stored)
        pages: list[Row] = []
        before = None
        while page := store.page(db, wanted, before=before, limit=size):
            assert len(page) <= size
            pages += page
            before = page[-1].memory.id
        assert pages == [row for row in _newest_first(rows) if meets(row.memory, wanted)]
        assert store.count(db, wanted) == len(pages)
        assert store.count(db) == len(stored)


@given(
    stored=st.lists(described, max_size=12, unique_by=lambda each: each.id),
    size=st.integers(1, 5),
)
def test_an_export_sees_every_memory_once_by_id(
    path: Path, stored: list[Memory], size: int
) -> None:
    with empty(path) as db:
        put(db, *stored)
        seen: list[Memory] = []
        after = None
        while page := store.in_order(db, after=after, limit=size):
            seen += [row.memory for row in page]
            after = page[-1].memory.id
        assert seen == sorted(stored, key=lambda each: each.id)


@given(
    stored=st.lists(described, max_size=12, unique_by=lambda each: each.id),
    wanted=st.lists(tags, max_size=3),
    chosen=st.none() | st.sets(spaces).map(tuple),
    limit=st.integers(1, 4),
)
def test_tags_pins_and_spaces_are_what_the_memories_say(
    path: Path,
    stored: list[Memory],
    wanted: list[str],
    chosen: tuple[str, ...] | None,
    limit: int,
) -> None:
    with empty(path) as db:
        rows = put(db, *stored)
        if wanted:
            assert sorted(store.rows_with_tags(db, wanted)) == [
                row.row for row in rows if set(wanted) <= set(row.memory.tags)
            ]
        asked = Selection(spaces=chosen)
        in_force = [row for row in _newest_first(rows) if meets(row.memory, asked)]
        pinned = [row for row in in_force if row.memory.pinned]
        assert store.pinned(db, chosen, limit=limit) == pinned[:limit]
        assert store.spaces(db) == [
            SpaceCount(
                space,
                sum(each.space == space for each in stored),
                max(each.updated_at for each in stored if each.space == space),
            )
            for space in sorted({each.space for each in stored})
        ]
