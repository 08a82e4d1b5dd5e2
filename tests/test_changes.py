"""Every way in which memories are written here is told to the other devices, in the transaction that writes them."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from mcp_server import consolidate, forgetting
from mcp_server.device import Device
from mcp_server.findings import resolve
from mcp_server.memory import Changes, capture_drafts, remember, revise, take_in
from mcp_server.model import Link, Memory
from mcp_server.vault import store
from shared.errors import InvalidError
from sync_service.changes import merge
from sync_service.changes.merge import State
from sync_service.device import log
from tests.builders import SetClock, draft, memory, opened, tell
from tests.two_vaults import Carried, digest_of, hear, memories_of, set_up, states_of, told

_WORDS = st.sampled_from(("tea", "harbour", "boat", "Straße", "日本", "a\0b"))
_TEXTS = st.lists(_WORDS, min_size=1, max_size=4).map(" ".join)
_TAGS = st.lists(_WORDS.filter(str.isprintable), max_size=3).map(tuple)
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("remember", "capture", "take_in", "retag", "edit", "supersede", "resolve", "forget", "pack")
        ),
        st.integers(0, 9),
        _TEXTS,
        _TAGS,
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)  # fmt: skip


def _present(device: Device) -> list[Memory]:
    with device.vault.reading() as db:
        return [row.memory for row in store.in_order(db, after=None, limit=1_000)]


def _do(device: Device, step: tuple[str, int, str, tuple[str, ...], bool]) -> None:
    what, number, text, tags, flag = step
    there = [each for each in _present(device) if each.superseded_by is None]
    if what == "remember":
        tell(device, draft(text, tags=tags, pinned=flag, importance=number / 10))
    elif what == "capture":
        turns = [draft(text, speaker="Ann"), draft("Yes.", speaker="Bob")]
        remember(device, capture_drafts(device, "c1", turns, space="work"), client="hook")
    elif what == "take_in":
        take_in(device, [memory(text, tags=tuple(sorted(set(tags))), archived=flag)], client="own")
    elif what == "pack":
        for _ in consolidate.run(device, least_bytes=1):
            pass
    elif there:
        _change(device, what, there[number % len(there)], there[0], step)


def _change(device: Device, what: str, one: Memory, first: Memory, step: Any) -> None:
    _, number, text, tags, flag = step
    if what == "retag":
        changes = Changes(tags=tags, links=(Link("about", first.id),) if flag else ())
        revise(device, one.id, one.version, changes, client="test")
    elif what == "edit":
        changes = Changes(archived=flag, importance=number / 10, space="work" if flag else "home")
        revise(device, one.id, one.version, changes, client="test")
    elif what == "supersede":
        revise(device, one.id, one.version, Changes(text=f"{text} {number}"), client="test")
    elif what == "resolve":
        _find_alike(device, first, one)
    else:
        forgetting.erase(device, forgetting.chosen(device, ids=[one.id]), client="test")


def _find_alike(device: Device, first: Memory, second: Memory) -> None:
    with device.vault.writing() as db:
        db.execute("DELETE FROM findings")
        number = db.execute(
            "INSERT INTO findings (relation, first, second, noticed_ms) VALUES ('near_duplicate', ?, ?, 0)",
            [store.as_bytes(first.id), store.as_bytes(second.id)],
        ).lastrowid
    assert number is not None
    if first.id != second.id:
        resolve(device, number, "keep_first", client="test")


def _applied(carried: Carried) -> dict[bytes, State]:
    found: dict[bytes, State] = {}
    for stream, op in carried:
        found[op.memory] = merge.apply(found.get(op.memory, merge.EMPTY), op, stream)
    return found


def _summed(found: dict[bytes, State]) -> bytes:
    total = sum(merge.fingerprint(memory, state) for memory, state in found.items())
    return merge.digest(total)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(_STEPS)
def test_whatever_is_done_here_is_told(steps: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = SetClock()
        with opened(Path(folder) / "one", clock=clock, ready=False) as one:
            set_up(one)
            said: Carried = []
            for step in steps:
                clock.passes(seconds=1)
                _do(one, step)
                said += told(one)
            here, memories = states_of(one), memories_of(one)
            # What was forgotten leaves the outbox, so only that it is forgotten need be told.
            assert here == _applied(said)
            assert digest_of(one) == _summed(here)
        with opened(Path(folder) / "other", ready=False) as other:
            set_up(other)
            hear(other, said)
            assert memories_of(other) == memories
            assert states_of(other) == here
            assert digest_of(other) == _summed(here)


def test_nothing_is_recorded_before_sync_is_set_up(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        (stored,) = tell(device, "tea")
        revise(device, stored.id, 1, Changes(pinned=True), client="test")
        forgetting.erase(device, forgetting.chosen(device, ids=[stored.id]), client="test")
        with device.vault.reading() as db:
            assert log.outbox_count(db) == 0
            for table in ("sync_states", "sync_forgotten", "sync_partial"):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_write_that_fails_is_not_told(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        set_up(device)
        exported = [memory("tea"), memory("")]
        with pytest.raises(InvalidError):
            take_in(device, exported, client="own")
        assert told(device) == []
        assert states_of(device) == {}


def test_what_is_forgotten_before_it_was_told_leaves_no_word_of_itself(tmp_path: Path) -> None:
    with opened(tmp_path, ready=False) as device:
        set_up(device)
        (stored,) = tell(device, "The zyrquonic resonator.")
        forgetting.erase(device, forgetting.chosen(device, ids=[stored.id]), client="test")
        ((_, op),) = told(device)
        assert structs.asdict(op).keys() == {"memory", "hlc"}
        assert op.memory == store.as_bytes(stored.id)
