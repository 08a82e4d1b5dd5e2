"""What of a person gets into the log, and the bytes that are sealed."""

import hashlib
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cloud_api.audit.rules import (
    FIRST,
    Disagreement,
    Head,
    SealedEntry,
    canonical,
    follow,
    network_of,
    seal_of,
)

ENTRY = SealedEntry(
    place=1,
    entry_id=UUID(int=1),
    seal=b"",
    is_there=True,
    subject=UUID(int=2),
    actor="person",
    staff=None,
    action="session.opened",
    network="192.0.2.0/24",
    detail="{}",
    noted_at=datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC),
)


def a_chain(length: int) -> list[SealedEntry]:
    previous, made = FIRST, []
    for place in range(1, length + 1):
        entry = structs.replace(ENTRY, place=place, entry_id=UUID(int=place))
        previous = seal_of(previous, entry)
        made.append(structs.replace(entry, seal=previous))
    return made


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_only_the_block_of_an_address_is_kept(address: str | None, network: str | None) -> None:
    assert network_of(address) == network


def test_the_sealed_bytes_stay_the_same_for_ever() -> None:
    fields = (
        "00000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-000000000002",
        "person",
        None,
        "session.opened",
        "192.0.2.0/24",
        "{}",
        "1795262400123456",
    )
    expected = b"".join(
        b"\xff\xff\xff\xff" if each is None else len(each).to_bytes(4, "big") + each.encode()
        for each in fields
    )
    assert canonical(ENTRY) == expected
    assert seal_of(FIRST, ENTRY) == hashlib.sha256(b"\x01" + bytes(32) + expected).digest()


texts = st.none() | st.text(max_size=8)


@given(texts, texts, texts, texts)
def test_no_two_entries_have_the_same_bytes(
    network: str | None, detail: str | None, other_network: str | None, other_detail: str | None
) -> None:
    one = structs.replace(ENTRY, network=network, detail=detail)
    other = structs.replace(ENTRY, network=other_network, detail=other_detail)
    assert (canonical(one) == canonical(other)) == (one == other)


def test_a_chain_that_nobody_touched_leads_to_its_head() -> None:
    chain = a_chain(3)
    assert list(follow(Head(0, FIRST), chain))[-1] == Head(3, chain[-1].seal)


@pytest.mark.parametrize(
    ("broken", "place", "says"),
    [
        (lambda c: [c[0], structs.replace(c[1], action="session.closed"), c[2]], 2, "not what was sealed"),
        (lambda c: [c[0], structs.replace(c[1], seal=bytes(32)), c[2]], 2, "not what was sealed"),
        (lambda c: [c[0], structs.replace(c[1], is_there=False), c[2]], 2, "entry of seal 2 is missing"),
        (lambda c: [c[0], c[2]], 3, "Seal 2 is missing"),
        (lambda c: c[1:], 2, "Seal 1 is missing"),
        (lambda c: [c[0], structs.replace(c[2], place=2), structs.replace(c[1], place=3)], 2, "not what was sealed"),
    ],
    ids=["changed", "seal-changed", "removed", "both-removed", "beginning-removed", "exchanged"],
)  # fmt: skip
def test_the_first_place_that_disagrees_is_named(broken: object, place: int, says: str) -> None:
    assert callable(broken)
    last = list(follow(Head(0, FIRST), broken(a_chain(3))))[-1]
    assert isinstance(last, Disagreement)
    assert last.place == place
    assert says in last.sentence
