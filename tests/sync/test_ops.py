import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.changes import ops
from sync_service.changes.clock import LATEST
from sync_service.changes.ops import (
    Content,
    Foreign,
    Forget,
    Head,
    Link,
    MalformedError,
    NewerContentError,
    Op,
    Set,
    Tag,
)

ID, STREAM = b"m" * 16, b"s" * 8
encode = msgspec.msgpack.encode
HEAD = Head(STREAM, 7, b"h" * 32)

ids = st.binary(min_size=16, max_size=16)
streams = st.binary(min_size=8, max_size=8)
hlcs = st.integers(0, LATEST)
values: st.SearchStrategy[bytes] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
).map(encode) | st.just(encode({"nested": [[1, None], {"deeper": b"x"}]}))
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
lengths = st.integers(1, 2**32 - 1)
numbers = st.integers(1, 255)


@st.composite
def sets(draw: st.DrawFn) -> Set:
    hlc = draw(st.integers(1, LATEST))
    fields = draw(st.dictionaries(numbers, values, min_size=1, max_size=18))
    seen = st.lists(
        st.tuples(st.integers(0, hlc - 1), streams), min_size=1, max_size=4, unique=True
    ).map(lambda clocks: tuple(sorted(clocks)))
    replaces = draw(st.dictionaries(st.sampled_from(sorted(fields)), seen, max_size=3))
    return Set(draw(ids), hlc, fields, replaces)


anything: st.SearchStrategy[Op] = (
    sets()
    | st.builds(Tag, ids, hlcs, st.dictionaries(names, lengths, min_size=1, max_size=17))
    | st.builds(
        Link, ids, hlcs, st.dictionaries(st.tuples(names, ids), lengths, min_size=1, max_size=9)
    )
    | st.builds(Forget, ids, hlcs)
    | st.builds(Foreign, ids, hlcs, st.integers(64, 127), values)
)


@given(batch=st.lists(anything, max_size=5), digest=st.none() | st.binary(min_size=32, max_size=32))
def test_what_was_written_is_read(batch: list[Op], digest: bytes | None) -> None:
    content = ops.encode_content(batch, heads=[HEAD], digest=digest)
    assert ops.decode_content(content) == Content((HEAD,), digest, tuple(batch))
    for op in batch:
        assert ops.decode_op(ops.encode_op(op)) == op


@given(op=anything)
def test_an_operation_has_one_form_in_bytes(op: Op) -> None:
    again = ops.decode_op(ops.encode_op(op))
    assert ops.encode_op(again) == ops.encode_op(op)


def raw_op(kind: object, payload: object, memory: object = ID, hlc: object = 5) -> bytes:
    return encode((kind, memory, hlc, payload))


def content_of(*raws: bytes, **changed: Any) -> bytes:
    said = {"version": 1, "base": 0, "heads": [], "digest": None, **changed}
    return encode((*said.values(), [msgspec.Raw(raw) for raw in raws]))


# A map with one key twice, which no encoder writes.
TWICE = b"\x82\x01\xa1a\x01\xa1b"
SEEN = {1: [(3, STREAM)]}
DEEP = b"\x91" * 100_000 + b"\xc0"

BAD_OPS: dict[str, bytes] = {
    "nothing": encode(None),
    "too few parts": encode((0, ID, 5)),
    "too many parts": encode((0, ID, 5, ({1: "a"}, {}), 1)),
    "a short id": raw_op(0, ({1: "a"}, {}), memory=b"m"),
    "an id as text": raw_op(0, ({1: "a"}, {}), memory="m" * 16),
    "a negative kind": raw_op(-1, None),
    "a kind beyond all": raw_op(128, None),
    "a clock before 1970": raw_op(0, ({1: "a"}, {}), hlc=-1),
    "the year 9999": raw_op(0, ({1: "a"}, {}), hlc=253_402_300_799_000 << 16),
    "just too late": raw_op(0, ({1: "a"}, {}), hlc=LATEST + 1),
    "a clock as float": raw_op(0, ({1: "a"}, {}), hlc=5.5),
    "no fields": raw_op(0, ({}, {})),
    "65 fields": raw_op(0, (dict.fromkeys(range(1, 66), 1), {})),
    "field 0": raw_op(0, ({0: "a"}, {})),
    "field 256": raw_op(0, ({256: "a"}, {})),
    "a field by name": raw_op(0, ({"text": "a"}, {})),
    "a field twice": raw_op(0, [msgspec.Raw(TWICE), {}]),
    "a field twice among many": raw_op(
        0,
        [
            msgspec.Raw(
                b"\xde\x00\x11" + b"".join(encode(n) + b"\x01" for n in [*range(1, 17), 1])
            ),
            {},
        ],
    ),
    "a map longer than said": raw_op(0, [msgspec.Raw(b"\xdf\x00\x00\x00\x01\x01\xa1a"), {}]),
    "replacing what is later": raw_op(0, ({1: "a"}, {1: [(5, STREAM)]})),
    "replacing without a clock": raw_op(0, ({1: "a"}, {1: [(-1, STREAM)]})),
    "replacing on no stream": raw_op(0, ({1: "a"}, {1: [(3, b"s")]})),
    "replacing another field": raw_op(0, ({1: "a"}, {2: [(3, STREAM)]})),
    "replacing twice": raw_op(0, ({1: "a"}, {1: [(3, STREAM), (3, STREAM)]})),
    "replacing out of order": raw_op(0, ({1: "a"}, {1: [(4, STREAM), (3, STREAM)]})),
    "replaced field twice": raw_op(
        0, [{1: "a"}, msgspec.Raw(b"\x82" + encode(SEEN)[1:] + encode(SEEN)[1:])]
    ),
    "replacing too many": raw_op(
        0, ({1: "a"}, {1: [(3, n.to_bytes(8, "big")) for n in range(257)]})
    ),
    "no tags": raw_op(1, {}),
    "257 tags": raw_op(1, {str(n): 1 for n in range(257)}),
    "a tag without a name": raw_op(1, {"": 1}),
    "a tag longer than any": raw_op(1, {"é" * 501: 1}),
    "a tag never there": raw_op(1, {"a": 0}),
    "a tag turned too often": raw_op(1, {"a": 2**32}),
    "a tag twice": raw_op(1, msgspec.Raw(b"\x82\xa1a\x01\xa1a\x02")),
    "no text for a tag": raw_op(1, msgspec.Raw(b"\x81\xa2\xff\xfe\x01")),
    "no links": raw_op(2, []),
    "a link twice": raw_op(2, [("x", ID, 1), ("x", ID, 2)]),
    "a link to nowhere": raw_op(2, [("x", b"", 1)]),
    "a link without a name": raw_op(2, [("", ID, 1)]),
    "forgetting with a word": raw_op(3, "why"),
    "nested without end": b"\x94\x00" + encode(ID) + b"\x05" + DEEP,
    "a value nested without end": b"\x94\x00" + encode(ID) + b"\x05\x92\x81\x01" + DEEP + b"\x80",
    "larger than any": raw_op(0, ({1: "a" * ops.OP_BYTES_MAX}, {})),
}


@pytest.mark.parametrize("name", BAD_OPS)
def test_what_is_no_operation_is_malformed(name: str) -> None:
    with pytest.raises(MalformedError):
        ops.decode_op(BAD_OPS[name])


@pytest.mark.parametrize(
    "name", [name for name in BAD_OPS if "nested" not in name and "longer than said" not in name]
)
def test_one_bad_operation_does_not_poison_its_batch(name: str) -> None:
    good = Set(ID, 9, {1: encode("text")})
    read = ops.decode_content(content_of(ops.encode_op(good), BAD_OPS[name]))
    assert read.ops == (good,)
    assert read.malformed == (BAD_OPS[name],)


def test_a_kind_from_the_future_waits_or_is_passed_on() -> None:
    must, may = raw_op(4, {"a": 1}), raw_op(64, {"a": 1})
    read = ops.decode_content(content_of(must, may))
    assert read.newer == (must,)
    assert read.ops == (Foreign(ID, 5, 64, encode({"a": 1})),)
    with pytest.raises(MalformedError):
        ops.decode_op(must)


def test_an_unknown_field_is_kept_byte_for_byte() -> None:
    odd = b"\xd9\x01a"  # a text of one letter in a longer form than needed
    op = Set(ID, 5, {200: odd})
    assert ops.decode_op(ops.encode_op(op)) == op


BAD_CONTENTS: dict[str, bytes] = {
    "nothing": b"",
    "no list": encode("content"),
    "an empty list": encode([]),
    "version 0": content_of(version=0),
    "a version as text": content_of(version="1"),
    "a clock before 1970": content_of(base=-1),
    "a clock beyond all": content_of(base=LATEST + 1),
    "a short digest": content_of(digest=b"d"),
    "a stream twice": content_of(heads=[HEAD, HEAD]),
    "a head at 0": content_of(heads=[(STREAM, 0, b"h" * 32)]),
    "a head without a hash": content_of(heads=[(STREAM, 1, b"")]),
    "a head on no stream": content_of(heads=[(b"", 1, b"h" * 32)]),
    "a head of four parts": content_of(heads=[(STREAM, 1, b"h" * 32, 1)]),
    "too many heads": content_of(heads=[(n.to_bytes(8, "big"), 1, b"h" * 32) for n in range(1025)]),
    "too many operations": content_of(*[raw_op(3, None)] * 4097),
    "a list of four billion": b"\x95\x01\x00\x90\xc0\xdd\xff\xff\xff\xff",
    "nested without end": b"\x95\x01\x00\x90\xc0" + DEEP,
    "something after it": content_of() + b"\x00",
    "a longer form": b"\x95\xcc\x01\x00\x90\xc0\x90",
    "larger than any": bytes(ops.CONTENT_BYTES_MAX + 1),
}


@pytest.mark.parametrize("name", BAD_CONTENTS)
def test_what_is_no_content_is_malformed_in_little_memory(name: str) -> None:
    tracemalloc.start()
    with pytest.raises(MalformedError):
        ops.decode_content(BAD_CONTENTS[name])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * ops.CONTENT_BYTES_MAX


@pytest.mark.parametrize(
    "content", [content_of(version=2), encode([2]), encode([3, {"any": "form"}])]
)
def test_a_batch_of_a_later_version_waits(content: bytes) -> None:
    with pytest.raises(NewerContentError):
        ops.decode_content(content)


@given(noise=st.binary(max_size=400))
def test_noise_is_malformed_and_nothing_else(noise: bytes) -> None:
    for content in (noise, b"\x95\x01" + noise):
        try:
            ops.decode_content(content)
        except (MalformedError, NewerContentError):
            continue
    for raw in (noise, b"\x94\x00\xc4\x10" + ID + noise):
        try:
            ops.decode_op(raw)
        except MalformedError:
            continue


@given(op=anything, cut=st.integers(0), flip=st.integers(0))
def test_a_cut_or_altered_operation_is_another_one_or_malformed(
    op: Op, cut: int, flip: int
) -> None:
    raw = ops.encode_op(op)
    altered = bytearray(raw)
    altered[flip % len(raw)] ^= 1 << flip % 8
    for broken in (raw[: cut % len(raw)], bytes(altered)):
        try:
            assert ops.decode_op(broken) is not None
        except MalformedError:
            continue
