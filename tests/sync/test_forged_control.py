import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.changes.ops import MalformedError
from sync_service.members import amend, control, entries
from sync_service.members.control import (
    DowngradeError,
    ForgedListError,
    OutOfOrderError,
    RevokedDeviceError,
    RolledBackError,
    WrongVaultError,
)
from sync_service.members.entries import NewerListError
from sync_service.sealed import keys
from sync_service.sealed.frames import NO_HASH
from tests.sync.circle import (
    Circle,
    adding,
    by,
    by_words,
    circle,
    device_of,
    founded,
    seeds_of,
    written,
)
from tests.sync.forged_entries import ATTACKS, altered


@pytest.mark.parametrize("name", ATTACKS)
def test_the_device_list_refuses(name: str) -> None:
    """`lamp` was removed; `desk` is a member; the server has none of their keys."""
    made = circle("desk", "lamp")
    made.revoke("lamp", by("desk"))
    expected, attack = ATTACKS[name]
    with pytest.raises(expected) as refused:
        control.extend(made.members, attack(made))
    assert type(refused.value) is expected


def test_another_vault_cannot_be_shown_under_this_ones_id() -> None:
    made, other = circle("desk"), founded("other words")
    assert control.begin(other.chain[0]).vault != made.members.vault
    with pytest.raises(WrongVaultError):
        control.replay([made.chain[0], *circle_of("other words").chain[1:]])


def circle_of(words: str) -> Circle:
    made = founded(words)
    made.add("desk", by_words(words))
    return made


@pytest.mark.parametrize(
    ("expected", "entry"),
    [
        (ForgedListError, altered(founded().chain[0], -1)),
        (
            ForgedListError,
            entries.sign(
                1,
                NO_HASH,
                None,
                entries.FOUND,
                (bytes(16), keys.sign_public(seeds_of("a")), keys.kem_public(seeds_of("a")), 1),
                by=by_words("b"),
            ),
        ),
        (OutOfOrderError, circle("desk").chain[1]),
        (MalformedError, b""),
        (
            MalformedError,
            amend.found(seeds_of("words"), nonce=b"short"),
        ),
        (MalformedError, amend.found(seeds_of("words"), nonce=bytes(16), suite_floor=0)),
    ],
    ids=["altered", "signed by others", "a later entry", "nothing", "a short nonce", "suite 0"],
)
def test_a_list_does_not_begin_with(expected: type[Exception], entry: bytes) -> None:
    with pytest.raises(expected):
        control.begin(entry)


def test_less_of_the_list_than_was_seen_before_is_a_rollback() -> None:
    made = circle("desk", "phone")
    seen = (made.members.seq, made.members.hash)
    assert control.replay(made.chain, through=seen) == made.members
    for chain in ([], made.chain[:-1]):
        with pytest.raises(RolledBackError):
            control.replay(chain, through=seen)
    branch = Circle(control.replay(made.chain[:-1]), made.chain[:-1])
    branch.add("tablet", by("desk"))
    branch.add("phone", by("desk"))
    with pytest.raises(ForgedListError, match="not the one that was seen"):
        control.replay(branch.chain, through=seen)


def test_entries_in_another_order_are_refused() -> None:
    first, second, third, fourth = circle("desk", "phone").chain
    for chain in ([first, third, second, fourth], [first, second, fourth], [second, first]):
        with pytest.raises(OutOfOrderError):
            control.replay(chain)


def test_there_is_an_end_to_devices_and_to_streams() -> None:
    made = circle("desk")
    member = made.members.members[device_of("desk")]
    many = {bytes([n]) * 16: member for n in range(control.MEMBERS_MAX)}
    with pytest.raises(ForgedListError, match="devices"):
        control.extend(
            full := msgspec.structs.replace(made.members, members=many),
            adding(full, "phone", by_words("words")),
        )
    streams = tuple(n.to_bytes(8, "big") for n in range(1024))
    worn = msgspec.structs.replace(member, streams=streams)
    full = msgspec.structs.replace(made.members, members={member.device: worn})
    with pytest.raises(ForgedListError, match="streams"):
        control.extend(full, amend.new_stream(full, seeds_of("desk"), incarnation=9))
    taken = (keys.stream_id(member.sign_public, 9),)
    full = msgspec.structs.replace(
        made.members, members={member.device: msgspec.structs.replace(member, streams=taken)}
    )
    with pytest.raises(ForgedListError, match="same name"):
        control.extend(full, amend.new_stream(full, seeds_of("desk"), incarnation=9))


LISTED = circle("desk", "phone")
REFUSALS = (MalformedError, NewerListError, ForgedListError, WrongVaultError, RevokedDeviceError)


@given(flip=st.integers(0), which=st.integers(0, 3))
def test_no_flipped_bit_of_any_entry_goes_unnoticed(flip: int, which: int) -> None:
    chain = list(LISTED.chain)
    entry = bytearray(chain[which])
    bit = flip % (len(entry) * 8)
    entry[bit // 8] ^= 1 << bit % 8
    chain[which] = bytes(entry)
    through = (LISTED.members.seq, LISTED.members.hash)
    with pytest.raises(REFUSALS):
        control.replay(chain, through=through)


@given(noise=st.binary(max_size=300), cut=st.integers(0, 2_000))
def test_noise_and_cut_entries_are_refused_by_name(noise: bytes, cut: int) -> None:
    honest = adding(LISTED.members, "tablet", by("desk"))
    for entry in (noise, honest[:cut], b"\x98\x01" + noise + bytes(64)):
        with pytest.raises(REFUSALS):
            control.extend(LISTED.members, entry)


@given(
    said=st.recursive(
        st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=5),
        max_leaves=8,
    ),
    kind=st.integers(1, 7),
)
def test_any_body_by_a_member_is_taken_or_refused_by_name(said: object, kind: int) -> None:
    try:
        control.extend(LISTED.members, written(LISTED.members, kind, said, by("desk")))
    except (*REFUSALS, DowngradeError):
        return
