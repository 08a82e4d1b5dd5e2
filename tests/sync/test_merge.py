import functools
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sync_service.changes import merge, ops, parting
from sync_service.changes.clock import (
    AHEAD_MS_MAX,
    BELIEVED_MS_MAX,
    COUNTER_BITS,
    LATEST,
    Hlc,
    heard,
    tick,
)
from sync_service.changes.fields import GUARDED, Field
from sync_service.changes.merge import EMPTY, FORGOTTEN, State, apply, join
from sync_service.changes.ops import Foreign, Forget, Link, MalformedError, Op, Set, Tag
from sync_service.device import adopting

ID, OTHER = b"m" * 16, b"o" * 16
A, B, C = b"a" * 8, b"b" * 8, b"c" * 8
STREAMS = (A, B, C)
TODAY_MS = 1_795_000_000_000
TEN_YEARS_MS = 315_576_000_000
UNKNOWN_FIELD = 200
encode = msgspec.msgpack.encode

Sent = tuple[Op, bytes]

# Few values, so that ties, repetitions and equal texts happen all the time.
hlcs = st.integers(1, 6)
streams = st.sampled_from(STREAMS)
clocks = st.tuples(st.integers(0, 5), streams)
fields = st.dictionaries(
    st.sampled_from([Field.TEXT, Field.SUPERSEDED_BY, Field.PINNED, UNKNOWN_FIELD]).map(int),
    st.integers(0, 2).map(encode),
    min_size=1,
)


@st.composite
def sets(draw: st.DrawFn) -> Set:
    hlc, written = draw(hlcs), draw(fields)
    seen = st.lists(st.tuples(st.integers(0, hlc - 1), streams), min_size=1, max_size=3)
    replaces = draw(st.dictionaries(st.sampled_from(sorted(written)), seen.map(tuple), max_size=2))
    return Set(ID, hlc, written, replaces)


opsets: st.SearchStrategy[Op] = st.one_of(
    sets(),
    sets(),
    st.builds(
        Tag,
        st.just(ID),
        hlcs,
        st.dictionaries(st.sampled_from("xyz"), st.integers(1, 4), min_size=1),
    ),
    st.builds(
        Link,
        st.just(ID),
        hlcs,
        st.dictionaries(
            st.tuples(st.sampled_from("rs"), st.just(OTHER)), st.integers(1, 4), min_size=1
        ),
    ),
    st.builds(Foreign, st.just(ID), hlcs, st.just(64), st.sampled_from([b"\x01", b"\x02"])),
)
sent = st.tuples(opsets, streams)
histories = st.lists(sent, max_size=8)


def after(history: Sequence[Sent], state: State = EMPTY) -> State:
    for op, stream in history:
        state = apply(state, op, stream)
    return state


@given(history=histories, order=st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(history: list[Sent], order: Any) -> None:
    again = history + history
    order.shuffle(again)
    assert after(again) == after(history)


@given(one=histories, two=histories, three=histories)
def test_states_join_in_any_order_and_grouping(
    one: list[Sent], two: list[Sent], three: list[Sent]
) -> None:
    a, b, c = after(one), after(two), after(three)
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, a) is a
    assert join(a, EMPTY) is a
    assert join(EMPTY, a) == a


@given(one=histories, two=histories)
def test_to_join_a_snapshot_is_to_replay_its_operations(one: list[Sent], two: list[Sent]) -> None:
    assert join(after(one), after(two)) == after(one + two)


@given(one=histories, two=histories)
def test_what_adds_nothing_gives_the_same_object(one: list[Sent], two: list[Sent]) -> None:
    both = after(one + two)
    assert join(both, after(one)) is both
    for op, stream in one:
        assert apply(both, op, stream) is both


@given(history=histories, old=streams, new=st.binary(min_size=8, max_size=8))
def test_what_goes_on_under_another_stream_stays_a_state_that_can_be_read(
    history: list[Sent], old: bytes, new: bytes
) -> None:
    state = after(history)
    written = [(field, hlc) for field, (hlc, stream, _) in state.fields.items() if stream == old]
    written += [(field, hlc) for field, (hlc, stream, _) in state.rivals if stream == old]
    moved = adopting.moved(state, written, old, new)
    assert merge.decode(merge.encode(moved)) == moved


@given(history=histories, at=st.integers(0, 8), order=st.randoms(use_true_random=False))
def test_forgetting_absorbs_in_every_interleaving(history: list[Sent], at: int, order: Any) -> None:
    history.insert(at, (Forget(ID, 1), A))
    order.shuffle(history)
    state = after(history)
    assert state == FORGOTTEN
    assert merge.clocks(state) == merge.clocks(FORGOTTEN)
    assert join(FORGOTTEN, state) == join(state, FORGOTTEN) == FORGOTTEN


@given(history=histories, bytes_max=st.integers(100, 400))
def test_a_state_is_the_join_of_its_parts_and_each_has_its_size(
    history: list[Sent], bytes_max: int
) -> None:
    state = after(history)
    if state.forgotten:
        return
    parts = list(parting.parts(state, bytes_max=bytes_max))
    assert functools.reduce(join, parts, EMPTY) == state
    for part in parts:
        assert len(merge.encode(part)) <= bytes_max * 4 / 3
        assert merge.decode(merge.encode(part)) == part


def test_forgetting_absorbs_in_all_orders_of_a_small_history() -> None:
    history: list[Sent] = [
        (Set(ID, 5, {1: b"\xa1a"}), A),
        (Set(ID, LATEST, {1: b"\xa1b"}, {1: ((5, A),)}), B),
        (Tag(ID, 6, {"x": 1}), A),
        (Forget(ID, 1), C),
    ]
    assert {after(list(order)) == FORGOTTEN for order in itertools.permutations(history)} == {True}


@given(history=histories)
def test_a_state_has_one_form_in_bytes(history: list[Sent]) -> None:
    state = after(history)
    assert merge.decode(merge.encode(state)) == state
    held = {field: version[2] for field, version in state.fields.items()}
    assert merge.with_values(merge.clocks(state), held.__getitem__) == state


@given(one=histories, two=histories)
def test_equal_states_and_only_those_have_equal_fingerprints(
    one: list[Sent], two: list[Sent]
) -> None:
    a, b = after(one), after(two)
    # Two values at one clock are a liar's; who wrote the value is what the clocks say.
    values = {
        (stream, op.hlc, field): v
        for op, stream in one + two
        if isinstance(op, Set)
        for field, v in op.fields.items()
    }
    honest = all(
        values[(stream, op.hlc, field)] == value
        for op, stream in one + two
        if isinstance(op, Set)
        for field, value in op.fields.items()
    )
    if a == b:
        assert merge.fingerprint(ID, a) == merge.fingerprint(ID, b)
    elif honest:
        assert merge.fingerprint(ID, a) != merge.fingerprint(ID, b)
    assert merge.fingerprint(ID, a) != merge.fingerprint(OTHER, a)


@given(
    history=histories,
    wanted=fields,
    tags=st.none() | st.lists(st.sampled_from("wxyz")),
    links=st.none() | st.lists(st.tuples(st.sampled_from("rs"), st.just(OTHER))),
    hlc=hlcs,
)
def test_an_edit_brings_what_its_author_sees_to_what_they_want(
    history: list[Sent],
    wanted: dict[int, bytes],
    tags: list[str] | None,
    links: list[tuple[str, bytes]] | None,
    hlc: int,
) -> None:
    seen = after(history)
    edits = merge.edit(seen, ID, Hlc(hlc), fields=wanted, tags=tags, links=links)
    for op in edits:
        assert ops.decode_op(ops.encode_op(op)) == op
    edited = after([(op, C) for op in edits], seen)
    assert {field: edited.fields[field][2] for field in wanted} == wanted
    assert not [field for field, _ in edited.rivals if field in wanted]
    for field in seen.fields.keys() - wanted.keys():
        assert edited.fields[field] == seen.fields[field]
    if tags is not None:
        assert merge.present(edited.tags) == sorted(set(tags))
    if links is not None:
        assert merge.present(edited.links) == sorted(set(links))
    assert merge.edit(edited, ID, Hlc(hlc), fields=wanted, tags=tags, links=links) == []


def test_an_equal_clock_goes_to_the_greater_stream_everywhere() -> None:
    low, high = (Set(ID, 5, {Field.PINNED: encode(v)}) for v in (True, False))
    for history in ([(low, A), (high, B)], [(high, B), (low, A)]):
        assert after(history).fields[Field.PINNED] == (5, B, encode(False))


def test_two_concurrent_texts_are_both_kept_until_somebody_decides() -> None:
    first = Set(ID, 5, {Field.TEXT: encode("at home")})
    seen = ((5, A),)
    here = Set(ID, 6, {Field.TEXT: encode("in Rome")}, {Field.TEXT: seen})
    there = Set(ID, 7, {Field.TEXT: encode("in Lisbon")}, {Field.TEXT: seen})
    state = after([(first, A), (here, A), (there, B)])
    assert state.fields[Field.TEXT] == (7, B, encode("in Lisbon"))
    assert merge.conflicts(state) == [(Field.TEXT, (6, A, encode("in Rome")))]
    (decided,) = merge.edit(state, ID, Hlc(1), fields={Field.TEXT: encode("in Lisbon")})
    settled = apply(state, decided, C)
    assert merge.conflicts(settled) == []
    assert after([(here, A), (decided, C), (there, B), (first, A)]) == settled


def test_the_same_text_twice_is_no_conflict() -> None:
    state = after([(Set(ID, hlc, {Field.TEXT: encode("Rome")}), s) for hlc, s in ((5, A), (6, B))])
    assert merge.conflicts(state) == []
    assert len(state.rivals) == 1


def test_a_field_that_is_not_guarded_is_replaced_without_a_word() -> None:
    assert Field.PINNED not in GUARDED
    history = [(Set(ID, hlc, {Field.PINNED: encode(hlc)}), A) for hlc in (5, 6)]
    assert after(history).rivals == frozenset()


def test_more_tags_than_one_operation_holds_go_into_several() -> None:
    many = [f"tag {n}" for n in range(600)]
    edits = merge.edit(EMPTY, ID, Hlc(5), tags=many)
    assert len(edits) == 3
    state = after([(ops.decode_op(ops.encode_op(op)), A) for op in edits])
    assert merge.present(state.tags) == sorted(many)


def test_more_rivals_than_one_operation_replaces_are_decided_in_several() -> None:
    history: list[Sent] = [
        (Set(ID, 5, {Field.TEXT: encode(n)}), n.to_bytes(8, "big")) for n in range(300)
    ]
    state = after(history)
    for _ in range(2):
        (op,) = merge.edit(state, ID, Hlc(9), fields={Field.TEXT: encode("one")})
        state = apply(state, ops.decode_op(ops.encode_op(op)), A)
    assert merge.conflicts(state) == []


STATES_NOBODY_WRITES: dict[str, object] = {
    "nothing": (),
    "eight parts": ([], {}, [], [], [], [], {}, []),
    "a clock beyond all": ([(LATEST + 1, A, [1])],),
    "no stream": ([(1, b"", [1])],),
    "field 0": ([(1, A, [0])],),
    "an unknown field without its value": ([(1, A, [UNKNOWN_FIELD])],),
    "a tag never there": ([], {"x": 0}),
    "a link to nowhere": ([], {}, [("x", b"", 1)]),
    "a rival of nothing": ([], {}, [], [(1, 1, A, b"\xc0")]),
    "a rival that should have won": ([(1, A, [1])], {}, [], [(1, 2, A, b"\xc0")]),
    "another thing": 5,
    "a word": "state",
}


@pytest.mark.parametrize("name", STATES_NOBODY_WRITES)
def test_a_state_that_nobody_writes_is_malformed(name: str) -> None:
    history = encode(STATES_NOBODY_WRITES[name])
    with pytest.raises(MalformedError):
        merge.with_values(history, lambda field: b"\xc0")
    with pytest.raises(MalformedError):
        merge.decode(encode([msgspec.Raw(history), {1: b"\xc0"}]))


def test_a_state_in_a_snapshot_without_its_values_is_malformed() -> None:
    with pytest.raises(MalformedError):
        merge.decode(encode([msgspec.Raw(encode(([(1, A, [1])],))), {}]))


VALUES_NOBODY_WRITES = {
    "nothing": b"",
    "no value": b"\xc1",
    "half of one": b"\x92\x01",
    "two": b"\x01\x02",
    "more than an operation holds": encode("a" * ops.OP_BYTES_MAX),
}
HELD_BY = {
    "a known field": (([(2, A, [1])],), {1}),
    "an unknown one": (([(2, A, [UNKNOWN_FIELD])], {}, [], [], [], [], {UNKNOWN_FIELD: ...}), ()),
    "a rival": (([(2, A, [1])], {}, [], [(1, 1, A, ...)]), ()),
    "what a newer version said": (([], {}, [], [], [], [(64, 1, A, ...)]), ()),
}


@pytest.mark.parametrize("held", HELD_BY)
@pytest.mark.parametrize("value", VALUES_NOBODY_WRITES)
def test_a_value_in_a_snapshot_that_no_operation_can_carry_is_malformed(
    held: str, value: str
) -> None:
    parts, known = HELD_BY[held]
    raw = VALUES_NOBODY_WRITES[value]
    values = {1: raw} if known else {1: b"\xc0"}
    with pytest.raises(MalformedError):
        merge.decode(encode([msgspec.Raw(encode(_with(parts, raw))), values]))
    merge.decode(encode([msgspec.Raw(encode(_with(parts, b"\xc0"))), {1: b"\xc0"}]))


def _with(part: Any, value: bytes) -> Any:
    if part is ...:
        return value
    if isinstance(part, dict):
        return {key: _with(each, value) for key, each in part.items()}
    return [_with(each, value) for each in part] if isinstance(part, list | tuple) else part


@given(noise=st.binary(max_size=200))
def test_noise_is_a_malformed_state_and_nothing_else(noise: bytes) -> None:
    for raw in (noise, b"\x92" + noise, b"\x91" * 5_000):
        try:
            merge.decode(raw)
        except MalformedError:
            continue


# --- devices that disagree about the time, over a network that drops nothing for ever --------------------------


class Device:
    def __init__(self, stream: bytes, skew_ms: int) -> None:
        self.stream = stream
        self.skew_ms = skew_ms
        self.clock = Hlc(0)
        self.state: dict[bytes, State] = {}
        self.furthest_ms = 0

    def take(self, history: list[Sent]) -> None:
        for op, stream in history:
            self.state[op.memory] = apply(self.state.get(op.memory, EMPTY), op, stream)


class Devices(RuleBasedStateMachine):
    """Any operations, any delivery: late, twice, in batches, out of order, as a snapshot."""

    @initialize(
        skews=st.lists(st.integers(-TEN_YEARS_MS, TEN_YEARS_MS), min_size=3, max_size=4),
    )
    def begin(self, skews: list[int]) -> None:
        self.now_ms = TODAY_MS
        self.devices = [Device(bytes([n + 1]) * 8, skew) for n, skew in enumerate(skews)]
        self.sent: list[Sent] = []

    def device(self, which: int) -> Device:
        return self.devices[which % len(self.devices)]

    def stamp(self, device: Device) -> Hlc:
        shown = self.now_ms + device.skew_ms
        if 0 <= shown <= BELIEVED_MS_MAX:
            device.furthest_ms = max(device.furthest_ms, shown)
        device.clock = tick(device.clock, shown)
        return device.clock

    @rule(
        which=st.integers(0, 3),
        memory=st.sampled_from([ID, OTHER]),
        wanted=fields,
        tags=st.none() | st.lists(st.sampled_from("xyz")),
        links=st.none() | st.lists(st.tuples(st.just("r"), st.just(OTHER)), max_size=1),
    )
    def edit(self, which: int, memory: bytes, wanted: Any, tags: Any, links: Any) -> None:
        device = self.device(which)
        seen = device.state.get(memory, EMPTY)
        if seen.forgotten:
            return
        hlc = self.stamp(device)
        written = merge.edit(seen, memory, hlc, fields=wanted, tags=tags, links=links)
        batch = ops.decode_content(ops.encode_content(written))
        assert (batch.malformed, batch.newer) == ((), ())
        history = [(op, device.stream) for op in batch.ops]
        device.take(history)
        self.sent += history
        now = device.state.get(memory, EMPTY)
        assert {field: now.fields[field][2] for field in wanted} == wanted, "a local edit sticks"
        assert tags is None or merge.present(now.tags) == sorted(set(tags))
        assert links is None or merge.present(now.links) == sorted(set(links))

    @rule(which=st.integers(0, 3), memory=st.sampled_from([ID, OTHER]), chance=st.integers(0, 7))
    def forget(self, which: int, memory: bytes, chance: int) -> None:
        if chance:
            return
        device = self.device(which)
        op: Sent = (Forget(memory, self.stamp(device)), device.stream)
        device.take([op])
        self.sent.append(op)

    @rule(which=st.integers(0, 3), ahead=st.integers(0, LATEST), value=st.integers(0, 2))
    def hear_from_the_far_future(self, which: int, ahead: int, value: int) -> None:
        """What a device with a broken clock, long gone, has written."""
        op: Sent = (
            Set(ID, min(ahead + 1, LATEST - 2**20), {Field.PINNED: encode(value)}),
            b"z" * 8,
        )
        self.deliver_to(self.device(which), [op])
        self.sent.append(op)

    @rule(ms=st.integers(0, 10**6))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @rule(which=st.integers(0, 3), skew=st.integers(-TEN_YEARS_MS, TEN_YEARS_MS) | st.just(10**15))
    def jump(self, which: int, skew: int) -> None:
        self.device(which).skew_ms = skew

    @rule(which=st.integers(0, 3))
    def write_a_lot_in_a_millisecond(self, which: int) -> None:
        device = self.device(which)
        device.clock = Hlc(self.stamp(device) + (1 << COUNTER_BITS))
        device.furthest_ms += 2

    @rule(which=st.integers(0, 3), data=st.data())
    def deliver(self, which: int, data: st.DataObject) -> None:
        if self.sent:
            batch = data.draw(st.lists(st.sampled_from(self.sent), max_size=8))
            self.deliver_to(self.device(which), batch)

    @rule(to=st.integers(0, 3), of=st.integers(0, 3))
    def join_a_snapshot(self, to: int, of: int) -> None:
        target, source = self.device(to), self.device(of)
        for memory, state in source.state.items():
            other = merge.decode(merge.encode(state))
            target.state[memory] = join(target.state.get(memory, EMPTY), other)

    def deliver_to(self, device: Device, batch: list[Sent]) -> None:
        device.take(batch)
        for op, _ in batch:
            device.clock = heard(device.clock, Hlc(op.hlc), self.now_ms + device.skew_ms)
        shown = self.now_ms + device.skew_ms
        if 0 <= shown <= BELIEVED_MS_MAX:
            device.furthest_ms = max(device.furthest_ms, shown)

    @invariant()
    def no_clock_runs_away(self) -> None:
        for device in getattr(self, "devices", []):
            assert device.clock >> COUNTER_BITS <= device.furthest_ms + AHEAD_MS_MAX + 1_000

    def teardown(self) -> None:
        if not hasattr(self, "devices"):
            return
        for device in self.devices:
            self.deliver_to(device, self.sent)
        first = self.devices[0].state
        for device in self.devices[1:]:
            assert device.state == first
            for memory, state in first.items():
                assert merge.fingerprint(memory, device.state[memory]) == merge.fingerprint(
                    memory, state
                )
                assert merge.conflicts(device.state[memory]) == merge.conflicts(state)
        self.last_word(self.devices[0])

    def last_word(self, device: Device) -> None:
        """Whoever has seen everything has the last word, be their clock ten years behind."""
        device.skew_ms = -TEN_YEARS_MS
        for memory, state in list(device.state.items()):
            if not state.forgotten:
                wanted = {int(Field.TEXT): encode("the last word"), int(Field.PINNED): encode(7)}
                edits = merge.edit(state, memory, self.stamp(device), fields=wanted)
                for other in self.devices:
                    other.take([(op, device.stream) for op in edits])
                    now = other.state[memory]
                    assert {field: now.fields[field][2] for field in wanted} == wanted
                    assert not [one for one in merge.conflicts(now) if one[0] == Field.TEXT]


Devices.TestCase.settings = settings(stateful_step_count=30)
TestDevices = Devices.TestCase
