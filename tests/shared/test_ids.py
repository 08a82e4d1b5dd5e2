from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import from_ms, to_ms
from shared.errors import InvalidError
from shared.ids import IdFactory, is_short_id, parse_memory_id, short_id

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FAR_FUTURE_MS = to_ms(datetime(9999, 1, 1, tzinfo=UTC))


def ids_at(*milliseconds: int, random_bits: int = 0) -> list[str]:
    ticks = iter(milliseconds)
    factory = IdFactory(lambda: from_ms(next(ticks)), lambda bits: random_bits % (1 << bits))
    return [factory.memory_id() for _ in milliseconds]


def test_an_id_is_a_uuid_of_version_7_with_the_moment_of_its_making() -> None:
    made = UUID(IdFactory(lambda: NOON).memory_id())
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == to_ms(NOON)


def test_the_layout_is_that_of_rfc_9562() -> None:
    # Appendix A.6 of the RFC: the same moment and random tail, with our counter at 0 in place of rand_a.
    assert ids_at(0x017F22E279B0, random_bits=0x18C4DC0C0C07398F) == [
        "017f22e2-79b0-7000-98c4-dc0c0c07398f"
    ]


@given(st.lists(st.integers(0, FAR_FUTURE_MS), min_size=1, max_size=60))
def test_ids_rise_whatever_the_clock_does(milliseconds: list[int]) -> None:
    made = ids_at(*milliseconds)
    assert made == sorted(set(made))


@given(st.lists(st.integers(1, FAR_FUTURE_MS), min_size=1, max_size=60, unique=True).map(sorted))
def test_with_a_clock_that_moves_on_every_id_tells_its_moment(milliseconds: list[int]) -> None:
    assert [UUID(made).int >> 80 for made in ids_at(*milliseconds)] == milliseconds


def test_more_ids_than_the_counter_holds_in_one_millisecond_borrow_from_the_next() -> None:
    start_ms = to_ms(NOON)
    made = ids_at(*[start_ms] * 5000)
    assert made == sorted(set(made))
    assert UUID(made[-1]).int >> 80 == start_ms + 1


def test_a_clock_before_1970_still_gives_ids_that_rise() -> None:
    made = ids_at(-5000, -4000, -3000)
    assert made == sorted(set(made))


def test_threads_that_share_a_factory_never_get_the_same_id() -> None:
    factory = IdFactory(lambda: NOON, lambda _bits: 0)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: factory.memory_id(), range(4000)))
    assert len(set(made)) == 4000


def test_two_factories_at_the_same_moment_differ_by_chance() -> None:
    assert IdFactory(lambda: NOON).memory_id() != IdFactory(lambda: NOON).memory_id()


@given(st.uuids())
def test_an_id_is_read_in_either_case_and_in_no_other_spelling(value: UUID) -> None:
    assert parse_memory_id(str(value)) == parse_memory_id(str(value).upper()) == str(value)
    for other in (value.hex, f"{{{value}}}", value.urn, str(value).replace("-", "_")):
        with pytest.raises(InvalidError, match="not a memory id"):
            parse_memory_id(other)


@given(st.text(st.characters(codec="ascii"), max_size=40))
def test_what_is_read_is_canonical(text: str) -> None:
    try:
        read = parse_memory_id(text)
    except InvalidError:
        return
    assert parse_memory_id(read) == read


@pytest.mark.parametrize(
    "text", ["", "42", "last", "0199f2f4-9c1e-7a10-8f7e", "x" * 1000, "\0", "🦉" * 36]
)
def test_what_is_no_id_is_refused_without_repeating_all_of_it(text: str) -> None:
    with pytest.raises(InvalidError, match="`recall` and `browse`") as refused:
        parse_memory_id(text)
    assert len(str(refused.value)) < 300


@given(st.integers(0, FAR_FUTURE_MS), st.integers(0, 2**62 - 1))
def test_the_short_form_of_an_id_is_one_and_ends_the_id(moment_ms: int, tail: int) -> None:
    [made] = ids_at(moment_ms, random_bits=tail)
    short = short_id(parse_memory_id(made))
    assert is_short_id(short)
    assert made.endswith(short)
    assert int(short, 16) == tail % (1 << 40)


@pytest.mark.parametrize(
    "text", ["", "3f3b2a9c1", "3f3b2a9c1d2", "3F3B2A9C1D", "3f3b2a9c1g", "3f3b-2a9c1"]
)
def test_nothing_else_is_a_short_id(text: str) -> None:
    assert not is_short_id(text)
