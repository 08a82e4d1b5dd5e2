import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import agreement
from sync_service import amend, control, entries, keys
from sync_service.control import (
    DowngradeError,
    ForgedListError,
    OutOfOrderError,
    RevokedDeviceError,
    RolledBackError,
    WrongVaultError,
)
from sync_service.entries import ADD, MEMBER_SIGNER, NewerListError, Signer
from sync_service.frames import NO_HASH, UnreadableError
from sync_service.ops import MalformedError
from tests.sync.circle import (
    Circle,
    adding,
    by,
    by_words,
    circle,
    device_of,
    epoch_key,
    founded,
    revoking,
    rotating,
    seeds_of,
    written,
)


def ids(made: Circle) -> list[bytes]:
    return [member.device for member in control.live(made.members)]


def all_keys(made: Circle) -> dict[int, bytes]:
    return {epoch: epoch_key(epoch) for epoch in range(1, made.members.epoch + 1)}


def test_the_vaults_id_is_the_hash_of_its_first_entry() -> None:
    made = founded()
    assert made.members.vault == hashlib.sha256(b"sunaiva/control/1" + made.chain[0]).digest()[:16]
    assert made.members.vault != founded("other words").members.vault
    other = amend.found(seeds_of("words"), nonce=b"\1" * 16)
    assert control.begin(other).vault != made.members.vault


def test_devices_are_admitted_one_by_another() -> None:
    made = circle("desk", "phone")
    made.add("tablet", by("phone"))
    assert ids(made) == sorted(map(device_of, ("desk", "phone", "tablet")))
    phone = made.members.members[device_of("phone")]
    assert control.owner_of(made.members, phone.streams[0]) == phone
    assert control.owner_of(made.members, b"?" * 8) is None
    assert phone.streams == (keys.stream_id(phone.sign_public, 1),)
    assert phone.sealed_name == b"phone"
    assert control.replay(made.chain) == made.members


def test_every_device_and_the_words_open_every_epoch() -> None:
    made = circle("desk", "phone")
    made.rotate(by("phone"))
    made.add("tablet", by("desk"))
    made.rotate(by("desk"))
    made.rotate(by_words("words"))
    for name in ("desk", "phone", "tablet", "words"):
        assert control.epoch_keys(made.members, seeds_of(name)) == all_keys(made)


def test_before_the_first_rotation_there_is_no_key() -> None:
    made = founded()
    made.add("desk", by_words("words"))
    assert control.epoch_keys(made.members, seeds_of("desk")) == {}
    assert control.epoch_keys(made.members, seeds_of("words")) == {}


def test_a_removed_device_opens_nothing_and_its_batches_count_up_to_the_named_one() -> None:
    made = circle("desk", "phone")
    phone = made.members.members[device_of("phone")]
    (stream,) = phone.streams
    assert control.counts(phone, stream, 9, b"?" * 32)
    made.append(
        amend.revoke(made.members, by("desk"), phone.device, {stream: (5, b"h" * 32)}),
    )
    before = made.members
    made.rotate(by("desk"))
    assert (before.rotation_due, made.members.rotation_due) == (True, False)
    with pytest.raises(RevokedDeviceError):
        control.epoch_keys(made.members, seeds_of("phone"))
    removed = control.owner_of(made.members, stream)
    assert removed is not None
    assert control.lasts_named(before, made.members) == {}
    assert control.lasts_named(founded().members, made.members) == {stream: (5, b"h" * 32)}
    assert [
        control.counts(removed, stream, seq, digest)
        for seq, digest in ((4, b"x" * 32), (5, b"h" * 32), (5, b"x" * 32), (6, b"h" * 32))
    ] == [True, True, False, False]


def test_a_device_that_was_cloned_goes_on_under_a_new_stream() -> None:
    made = circle("desk", "phone")
    made.append(amend.new_stream(made.members, seeds_of("desk"), incarnation=3))
    desk = made.members.members[device_of("desk")]
    assert desk.streams == tuple(keys.stream_id(desk.sign_public, n) for n in (1, 3))
    made.revoke("desk", by("phone"))
    assert set(made.members.members[device_of("desk")].revoked or ()) == set(desk.streams)


def test_a_device_gets_another_name() -> None:
    made = circle("desk", "phone")
    made.append(amend.rename(made.members, by("desk"), device_of("phone"), b"handy"))
    assert made.members.members[device_of("phone")].sealed_name == b"handy"


def test_other_words_open_everything_and_the_old_ones_nothing_more() -> None:
    made = circle("desk")
    made.append(
        amend.recovery(made.members, by("desk"), seeds_of("new words"), epoch_key=epoch_key(1))
    )
    assert made.members.rotation_due
    made.rotate(by("desk"))
    assert control.epoch_keys(made.members, seeds_of("new words")) == all_keys(made)
    with pytest.raises(RevokedDeviceError):
        control.epoch_keys(made.members, seeds_of("words"))
    with pytest.raises(ForgedListError):
        made.add("thief", by_words("words"))
    made.add("laptop", by_words("new words"))


def test_words_can_be_changed_before_there_is_a_key() -> None:
    made = founded()
    made.append(
        amend.recovery(made.members, by_words("words"), seeds_of("new words"), epoch_key=None)
    )
    assert not made.members.rotation_due
    made.add("desk", by_words("new words"))


def test_a_vault_demands_more_and_never_less() -> None:
    made = circle("desk")
    made.append(amend.policy(made.members, by("desk"), suite_floor=2, min_reader=2))
    made.append(amend.policy(made.members, by("desk"), suite_floor=2, min_reader=3))
    assert (made.members.suite_floor, made.members.min_reader) == (2, 3)


def test_the_last_device_may_leave_and_the_words_still_open_the_vault() -> None:
    made = circle("desk")
    made.revoke("desk", by("desk"))
    assert ids(made) == []
    assert control.epoch_keys(made.members, seeds_of("words")) == all_keys(made)
    with pytest.raises(RevokedDeviceError):
        made.add("back again", by("desk"))
    made.add("laptop", by_words("words"))
    made.rotate(by("laptop"))
    assert control.epoch_keys(made.members, seeds_of("laptop")) == all_keys(made)


def test_what_a_later_version_adds_without_need_is_passed_over() -> None:
    made = circle("desk")
    before = made.members
    made.append(written(before, 64, {"anything": [1, 2]}, by("desk")))
    assert made.members == msgspec.structs.replace(
        before, seq=before.seq + 1, hash=entries.entry_hash(made.chain[-1])
    )
    with pytest.raises(ForgedListError):
        made.append(written(made.members, 64, None, by("stranger")))


# --- attacks -------------------------------------------------------------------------------------------------


def altered(entry: bytes, at: int) -> bytes:
    return entry[:at] + bytes([entry[at] ^ 1]) + entry[len(entry) + at + 1 :]


def told_otherwise(made: Circle, **changed: Any) -> bytes:
    """A device's introduction, altered after it was signed, in an entry of a member."""
    honest = entries.introduce(seeds_of("phone"), vault=made.members.vault)
    newcomer = msgspec.structs.replace(honest, **changed)
    return amend.add(made.members, by("desk"), newcomer, sealed_name=b"", epoch_key=epoch_key(1))


def introduced(made: Circle, wrap: bytes) -> tuple[object, ...]:
    honest = entries.introduce(seeds_of("phone"), vault=made.members.vault)
    return (honest.sign_public, honest.kem_public, honest.incarnation, b"", honest.proof, wrap)


def rotated_body(made: Circle, **changed: Any) -> bytes:
    body = dict(
        zip(
            ("epoch", "check", "wraps", "recovery", "previous"),
            entries.body(
                entries.parse(rotating(made.members, by("desk"))),
                tuple[int, bytes, list[tuple[bytes, bytes]], bytes, bytes | None],
            ),
            strict=True,
        )
    )
    return written(made.members, entries.ROTATE, tuple({**body, **changed}.values()), by("desk"))


def recovered(made: Circle, proof: Callable[[bytes, bytes], bytes]) -> bytes:
    new = seeds_of("new words")
    sign, kem = keys.sign_public(new), keys.kem_public(new)
    wrap = keys.wrap_epoch_key(epoch_key(1), kem, vault=made.members.vault, epoch=1)
    said = (sign, kem, proof(sign, kem), wrap)
    return written(made.members, entries.RECOVERY, said, by("desk"))


def of_another_vault(made: Circle) -> bytes:
    other = founded("other words")
    return adding(other.members, "phone", by_words("other words"))


WRAP = 32 + agreement.SEALED_TO_EXTRA_BYTES
ZEROS = {"prev_hash": bytes(32)}

ATTACKS: dict[str, tuple[type[Exception], Callable[[Circle], bytes]]] = {
    "an entry by a stranger": (
        ForgedListError,
        lambda made: adding(made.members, "phone", by("stranger")),
    ),
    "an entry by other words": (
        ForgedListError,
        lambda made: adding(made.members, "phone", by_words("other words")),
    ),
    "signed by one in the name of another": (
        ForgedListError,
        lambda made: (
            adding(made.members, "phone", by("desk"))[:-64]
            + agreement.sign(seeds_of("lamp").sign, b"sunaiva/control/1")
        ),
    ),
    "a signature altered": (
        ForgedListError,
        lambda made: altered(adding(made.members, "phone", by("desk")), -1),
    ),
    "a signer of an unknown kind": (
        ForgedListError,
        lambda made: adding(made.members, "phone", Signer(2, seeds_of("desk"))),
    ),
    "a member as the words": (
        ForgedListError,
        lambda made: adding(made.members, "phone", by_words("desk")),
    ),
    "the words as a member": (
        ForgedListError,
        lambda made: adding(made.members, "phone", by("words")),
    ),
    "an entry twice": (OutOfOrderError, lambda made: made.chain[-1]),
    "an older entry again": (OutOfOrderError, lambda made: made.chain[1]),
    "the first entry again": (OutOfOrderError, lambda made: made.chain[0]),
    "an entry left out": (
        OutOfOrderError,
        lambda made: written(made.members, ADD, (), by("desk"), seq=made.members.seq + 2),
    ),
    "another entry before it": (
        OutOfOrderError,
        lambda made: written(made.members, ADD, (), by("desk"), **ZEROS),
    ),
    "a second beginning": (
        OutOfOrderError,
        lambda made: written(made.members, entries.FOUND, (), by_words("words")),
    ),
    "another vault's entry": (WrongVaultError, of_another_vault),
    "an entry by a removed device": (
        RevokedDeviceError,
        lambda made: adding(made.members, "phone", by("lamp")),
    ),
    "a removed device lets itself in again": (
        RevokedDeviceError,
        lambda made: adding(made.members, "lamp", by("lamp")),
    ),
    "a removed device is let in again under its old keys": (
        ForgedListError,
        lambda made: adding(made.members, "lamp", by("desk")),
    ),
    "a device twice": (ForgedListError, lambda made: adding(made.members, "desk", by("desk"))),
    "the words as a device": (
        ForgedListError,
        lambda made: adding(made.members, "words", by("desk")),
    ),
    "a device that did not agree": (
        ForgedListError,
        lambda made: told_otherwise(made, proof=bytes(64)),
    ),
    "another key to seal to": (
        ForgedListError,
        lambda made: told_otherwise(made, kem_public=keys.kem_public(seeds_of("server"))),
    ),
    "another incarnation than it agreed to": (
        ForgedListError,
        lambda made: told_otherwise(made, incarnation=2),
    ),
    "a device's agreement to another vault": (
        ForgedListError,
        lambda made: told_otherwise(
            made, proof=entries.introduce(seeds_of("phone"), vault=bytes(16)).proof
        ),
    ),
    "a key anybody can sign with": (
        MalformedError,
        lambda made: told_otherwise(made, sign_public=bytes(32), proof=bytes(64)),
    ),
    "a key nobody can open with": (
        MalformedError,
        lambda made: written(
            made.members,
            ADD,
            (keys.sign_public(seeds_of("phone")), b"\xff" * 1216, 1, b"", bytes(64), bytes(WRAP)),
            by("desk"),
        ),
    ),
    "a key that nothing can be sealed to": (
        MalformedError,
        lambda made: written(
            made.members,
            ADD,
            (
                keys.sign_public(seeds_of("phone")),
                keys.kem_public(seeds_of("phone"))[:1184] + bytes(32),
                1,
                b"",
                bytes(64),
                bytes(WRAP),
            ),
            by("desk"),
        ),
    ),
    "incarnation 0": (MalformedError, lambda made: told_otherwise(made, incarnation=0)),
    "a device without the key": (
        ForgedListError,
        lambda made: amend.add(
            made.members,
            by("desk"),
            entries.introduce(seeds_of("phone"), vault=made.members.vault),
            sealed_name=b"",
            epoch_key=None,
        ),
    ),
    "a device with a cut key": (
        MalformedError,
        lambda made: written(made.members, ADD, introduced(made, b"cut"), by("desk")),
    ),
    "a name without end": (
        MalformedError,
        lambda made: amend.rename(made.members, by("desk"), device_of("desk"), b"x" * 513),
    ),
    "a name for nobody": (
        ForgedListError,
        lambda made: amend.rename(made.members, by("desk"), b"?" * 16, b"x"),
    ),
    "removing somebody unknown": (
        ForgedListError,
        lambda made: amend.revoke(made.members, by("desk"), b"?" * 16, {}),
    ),
    "removing a device twice": (
        ForgedListError,
        lambda made: revoking(made.members, "lamp", by("desk")),
    ),
    "removing without saying from where": (
        ForgedListError,
        lambda made: amend.revoke(made.members, by("desk"), device_of("desk"), {}),
    ),
    "removing from a place without a hash": (
        MalformedError,
        lambda made: amend.revoke(
            made.members,
            by("desk"),
            device_of("desk"),
            dict.fromkeys(made.members.members[device_of("desk")].streams, (3, NO_HASH)),
        ),
    ),
    "a rotation that skips an epoch": (
        ForgedListError,
        lambda made: rotated_body(made, epoch=made.members.epoch + 2),
    ),
    "a rotation that repeats an epoch": (
        ForgedListError,
        lambda made: rotated_body(made, epoch=made.members.epoch),
    ),
    "a rotation that leaves out a device": (
        ForgedListError,
        lambda made: rotated_body(made, wraps=[]),
    ),
    "a rotation for a removed device too": (
        ForgedListError,
        lambda made: rotated_body(
            made,
            wraps=sorted(
                [(device_of("desk"), bytes(WRAP)), (device_of("lamp"), bytes(WRAP))],
            ),
        ),
    ),
    "a rotation that forgets what was before": (
        ForgedListError,
        lambda made: rotated_body(made, previous=None),
    ),
    "a rotation with a cut key": (
        MalformedError,
        lambda made: rotated_body(made, wraps=[(device_of("desk"), b"cut")]),
    ),
    "a rotation with a long check": (
        MalformedError,
        lambda made: rotated_body(made, check=bytes(17)),
    ),
    "a rotation with a cut previous key": (
        MalformedError,
        lambda made: rotated_body(made, previous=b"cut"),
    ),
    "a stream for another device": (
        ForgedListError,
        lambda made: written(
            made.members, entries.STREAM, (device_of("desk"), 2), by_words("words")
        ),
    ),
    "an earlier stream again": (
        ForgedListError,
        lambda made: amend.new_stream(made.members, seeds_of("desk"), incarnation=1),
    ),
    "words without proof": (ForgedListError, lambda made: recovered(made, lambda *_: bytes(64))),
    "words with a proof for another place": (
        ForgedListError,
        lambda made: recovered(
            made,
            lambda sign, kem: agreement.sign(
                seeds_of("new words").sign,
                entries.of_recovery(made.members.vault, NO_HASH, sign, kem),
            ),
        ),
    ),
    "the same words again": (
        ForgedListError,
        lambda made: amend.recovery(
            made.members, by("desk"), seeds_of("words"), epoch_key=epoch_key(1)
        ),
    ),
    "a device's key as words": (
        ForgedListError,
        lambda made: amend.recovery(
            made.members, by("desk"), seeds_of("desk"), epoch_key=epoch_key(1)
        ),
    ),
    "words without the key": (
        ForgedListError,
        lambda made: amend.recovery(
            made.members, by("desk"), seeds_of("new words"), epoch_key=None
        ),
    ),
    "a lower suite": (
        DowngradeError,
        lambda made: amend.policy(made.members, by("desk"), suite_floor=0, min_reader=1),
    ),
    "an older reader": (
        DowngradeError,
        lambda made: amend.policy(made.members, by("desk"), suite_floor=1, min_reader=0),
    ),
    "a demand nobody meets": (
        MalformedError,
        lambda made: amend.policy(made.members, by("desk"), suite_floor=256, min_reader=1),
    ),
    "a kind that has to be understood": (
        NewerListError,
        lambda made: written(made.members, 8, None, by("desk")),
    ),
    "a kind beyond all": (
        MalformedError,
        lambda made: written(made.members, 128, None, by("desk")),
    ),
    "a later form": (
        NewerListError,
        lambda made: msgspec.msgpack.encode((2, "anything")) + bytes(64),
    ),
    "an earlier form": (
        MalformedError,
        lambda made: msgspec.msgpack.encode((0, "anything")) + bytes(64),
    ),
    "a body of another kind": (
        MalformedError,
        lambda made: written(made.members, ADD, ("text",), by("desk")),
    ),
    "an entry without end": (
        MalformedError,
        lambda made: written(made.members, 64, bytes(256 * 1024), by("desk")),
    ),
    "no entry": (MalformedError, lambda made: b""),
    "something after it": (
        MalformedError,
        lambda made: adding(made.members, "phone", by("desk"))[:-64] + b"\0" + bytes(64),
    ),
    "nested without end": (
        MalformedError,
        lambda made: b"\x98\x01" * 10_000 + bytes(64),
    ),
}


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


def test_a_key_that_only_one_device_got_is_noticed_by_it() -> None:
    made = circle("desk", "phone")
    vault = made.members.vault
    wraps = [
        (
            member.device,
            keys.wrap_epoch_key(
                b"?" * 32 if member.device == device_of("phone") else epoch_key(2),
                member.kem_public,
                vault=vault,
                epoch=2,
            ),
        )
        for member in control.live(made.members)
    ]
    made.append(rotated_body(made, wraps=wraps))
    assert control.epoch_keys(made.members, seeds_of("desk")) == all_keys(made)
    with pytest.raises(UnreadableError):
        control.epoch_keys(made.members, seeds_of("phone"))
    made.append(rotated_body(made, wraps=[(d, bytes(WRAP)) for d, _ in wraps]))
    with pytest.raises(UnreadableError):
        control.epoch_keys(made.members, seeds_of("desk"))


def test_the_first_key_too_is_compared_with_what_the_others_got() -> None:
    made = founded()
    made.add("desk", by_words("words"))
    desk = seeds_of("desk")
    wrap = keys.wrap_epoch_key(b"?" * 32, keys.kem_public(desk), vault=made.members.vault, epoch=1)
    made.append(rotated_body(made, wraps=[(device_of("desk"), wrap)]))
    assert control.epoch_keys(made.members, seeds_of("words")) == all_keys(made)
    with pytest.raises(UnreadableError):
        control.epoch_keys(made.members, desk)


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


def test_signers_are_told_apart() -> None:
    assert by("desk") == Signer(MEMBER_SIGNER, seeds_of("desk")) != by_words("desk")
