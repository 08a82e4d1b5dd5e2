import hashlib

import msgspec
import pytest

from sync_service.members import amend, control, entries
from sync_service.members.control import (
    ForgedListError,
    RevokedDeviceError,
)
from sync_service.members.entries import MEMBER_SIGNER, Signer
from sync_service.sealed import keys
from sync_service.sealed.frames import UnreadableError
from tests.sync.circle import (
    Circle,
    by,
    by_words,
    circle,
    device_of,
    epoch_key,
    founded,
    seeds_of,
    written,
)
from tests.sync.forged_entries import WRAP_BYTES, rotated_body


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
    made.append(rotated_body(made, wraps=[(d, bytes(WRAP_BYTES)) for d, _ in wraps]))
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


def test_signers_are_told_apart() -> None:
    assert by("desk") == Signer(MEMBER_SIGNER, seeds_of("desk")) != by_words("desk")
