import io
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.importers.drafts import Problem
from mcp_server.importers.records import NESTING_MAX, Splitter, lines, records
from shared.errors import CorruptError

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
objects = st.lists(st.dictionaries(st.text(max_size=8), values, max_size=4), max_size=6)


def split(raw: bytes, size: int, base: int) -> list[Any]:
    splitter = Splitter("x", base)
    found: list[Any] = []
    for start in range(0, len(raw), size):
        found += splitter.feed(raw[start : start + size])
    return found + list(splitter.finish())


@given(objects, st.integers(1, 40), st.booleans(), st.sampled_from([None, 2]))
def test_records_of_a_list_are_found_wherever_it_is_cut(
    written: list[Any], size: int, ascii_only: bool, indent: int | None
) -> None:
    raw = json.dumps(written, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    assert split(raw, size, base=1) == json.loads(raw)


@given(objects, st.integers(1, 40))
def test_objects_in_a_row_are_found_wherever_they_are_cut(written: list[Any], size: int) -> None:
    raw = "\n".join(json.dumps(each, indent=1) for each in written).encode()
    assert split(raw, size, base=0) == written


@given(st.binary(max_size=300), st.integers(1, 40), st.integers(0, 1))
def test_no_bytes_make_the_splitter_fail_in_an_unforeseen_way(
    raw: bytes, size: int, base: int
) -> None:
    with suppress(CorruptError):
        split(raw, size, base)


@given(st.lists(st.sampled_from([*'[]{}",:\\ 1a', "\n"])).map("".join))
def test_nothing_that_almost_is_json_makes_a_reader_fail_in_an_unforeseen_way(text: str) -> None:
    with suppress(CorruptError):
        list(records(io.BufferedReader(io.BytesIO(b"[" + text.encode())), "x"))


def test_a_long_string_across_many_chunks_is_found() -> None:
    long = [{"text": "x\\" * 2_000_000}, {"text": "y"}]
    assert list(records(io.BufferedReader(io.BytesIO(json.dumps(long).encode())), "x")) == long


@pytest.mark.parametrize("depth", [NESTING_MAX, NESTING_MAX + 1, 500_000])
def test_only_records_deeper_than_the_limit_are_problems(depth: int) -> None:
    raw = b'[{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"},{}]"
    deep, plain = records(io.BufferedReader(io.BytesIO(raw)), "x")
    assert isinstance(deep, Problem) == (depth > NESTING_MAX)
    assert plain == {}


def test_a_broken_line_does_not_harm_the_next() -> None:
    deep = b'{"d":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    raw = b'{"a": 1}\n{"b": "}\n\n\xff\n' + deep + b'\n{"c": 3}\n'
    found = list(lines(io.BufferedReader(io.BytesIO(raw)), "x"))
    assert [found[0], found[-1]] == [{"a": 1}, {"c": 3}]
    assert [each.where for each in found if isinstance(each, Problem)] == [
        "x, line 2",
        "x, line 4",
        "x, line 5",
    ]
