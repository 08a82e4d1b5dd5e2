"""A device that is a member, has all the keys, and lies: it stops at most itself, and can be removed whatever it has sent."""

import msgspec
import pytest

from shared.errors import UnavailableError
from sync_service.changes import merge, ops
from sync_service.changes.clock import LATEST
from sync_service.changes.fields import Field
from sync_service.changes.ops import LENGTH_MAX, SEQ_MAX, Head
from sync_service.device import inbox, listing, log, membership, snapshots, vouching
from sync_service.members import amend, control
from sync_service.sealed import frames, manifests, segments
from sync_service.transport import POSITION_MAX, ControlConflictError
from tests.sync.devices import Device, memory, pair, said, settle, verified
from tests.sync.fake_relay import Shown
from tests.sync.sealing import send


def three() -> tuple[Device, Device, Device]:
    """The liar, and two others."""
    first, second = pair()
    third = Device(first.relay, first.time, 3).join()
    settle([first, second, third])
    return first, second, third


def stream_of(device: Device) -> bytes:
    return log.read(device.replica.db).stream


@pytest.mark.parametrize(
    ("seq", "alarm"), [(SEQ_MAX, "gap"), (SEQ_MAX + 1, "malformed"), ((1 << 64) - 1, "malformed")]
)
def test_a_head_beyond_all_counting_stops_nobody(seq: int, alarm: str) -> None:
    liar, one, other = three()
    send(liar, ops.encode_content([], heads=[Head(stream_of(other), seq, bytes(32))]))
    other.write(1)
    other.sync()
    one.sync()
    assert one.text(1) == "tea"
    assert one.alarms() == {alarm}


def test_a_batch_beyond_all_counting_is_malformed_and_the_others_flow() -> None:
    liar, one, other = three()
    other.write(1)
    other.sync()
    with liar.replica.transaction() as db:
        me, key = log.read(db), log.epoch_keys(db)[1]
    far = frames.seal(
        b"",
        vault=me.vault,
        stream=me.stream,
        seq=SEQ_MAX + 1,
        epoch=1,
        control_seq=1,
        prev_hash=bytes([1] * 32),
        epoch_key=key,
        sign_seed=me.sign_seed,
        salt=bytes(24),
    )

    def with_it(shown: Shown) -> Shown:
        return tuple((pos, far.raw if raw in liar.line.pushes else raw) for pos, raw in shown)

    send(liar, ops.encode_content([]))
    one.line.tamper = with_it
    one.sync()
    assert one.text(1) == "tea"
    assert one.alarms() == {"malformed"}


@pytest.mark.parametrize("pos", [POSITION_MAX, POSITION_MAX + 1, (1 << 64) - 1])
def test_places_that_a_log_does_not_have_are_named_and_sending_goes_on(pos: int) -> None:
    first, second = pair()
    first.write(1)
    first.sync()
    second.line.tamper = lambda shown: tuple((pos, raw) for _, raw in shown)
    second.write(2)
    second.sync()
    assert second.alarms() == {"malformed"}
    second.line.tamper = lambda shown: shown
    settle([first, second])
    assert (first.text(2), second.text(1)) == ("tea", "tea")
    assert second.alarms() == set()


@pytest.mark.parametrize(
    "last",
    [
        ops.Set(memory(1), LATEST, {Field.TEXT: said("the last word")}),
        ops.Tag(memory(1), 5, {"mine": LENGTH_MAX}),
    ],
    ids=["date", "tag"],
)
def test_what_nothing_can_follow_is_said_and_spoils_nothing(last: ops.Op) -> None:
    liar, one, other = three()
    send(liar, ops.encode_content([last]))
    one.sync()
    before = one.replica.states()
    with pytest.raises(merge.UnbeatableError):
        one.write(1, "mine", tags=[])
    assert one.replica.states() == before
    one.write(2)
    one.forget(1)
    settle([one, other])
    assert one.replica.states() == other.replica.states()
    assert (other.text(1), other.text(2)) == (None, "tea")


def test_an_edit_beats_what_lies_decades_ahead() -> None:
    liar, one, other = three()
    ahead = 7_226_582_400_000 << 16  # 2199
    send(liar, ops.encode_content([ops.Set(memory(1), ahead, {Field.TEXT: said("lie")})]))
    one.sync()
    one.write(1, "mine")
    one.write(2, "today")
    now_ms = one.now_ms
    settle([one, other])
    assert (other.text(1), other.text(2)) == ("mine", "today")
    hlc, _, _ = other.replica.states()[memory(2)].fields[Field.TEXT]
    assert hlc >> 16 == now_ms, "nobody's clock follows"


NOISE = {
    "an operation that nobody writes": msgspec.msgpack.encode((1, 0, [], None, [7])),
    "no content": b"\xc1 is never used",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=list(NOISE))
def test_noise_of_one_device_keeps_nobody_from_vouching_for_snapshots(noise: bytes) -> None:
    liar, one, other = three()
    one.write(1)
    settle([one, other])
    send(liar, noise)
    settle([one, other])
    members = log.members(one.replica.db)
    assert snapshots.write(one.line, one.replica, members, one.random, one.now_ms)
    other.write(2)
    settle([one, other])
    (manifest,) = one.relay.manifests
    assert vouching.check(other.line, other.replica, members, manifest, other.now_ms)


def test_noise_of_one_device_hides_no_divergence_of_others() -> None:
    liar, one, other = three()
    send(liar, NOISE["no content"])
    settle([one, other])
    with other.replica.transaction() as db:
        db.execute("UPDATE sync_self SET digest = randomblob(32)")
    other.write(2)
    settle([one, other])
    one.write(1)
    settle([one, other])
    assert "diverged" in other.alarms() | one.alarms()


def test_the_word_of_a_removed_device_about_others_counts_no_more() -> None:
    liar, one, other = three()
    send(liar, ops.encode_content([], heads=[Head(stream_of(other), 1_000, bytes(32))]))
    one.sync()
    assert one.alarms() == {"gap"}
    removed(liar, by=other)
    settle([one, other])
    assert one.alarms() == set()


def removed(device: Device, *, by: Device) -> None:
    by.sync()
    membership.revoke(by.line, by.replica, log.read(device.replica.db).device, by.random, by.now_ms)


@pytest.mark.parametrize("noise", NOISE.values(), ids=list(NOISE))
def test_a_device_is_removed_whatever_it_has_sent(noise: bytes) -> None:
    liar, one, other = three()
    send(liar, noise)
    send(liar, ops.encode_content([]), key=bytes(32))
    liar.write(1, "after it")
    liar.sync()
    removed(liar, by=other)
    other.write(2, "not for it")
    settle([one, other])
    assert one.text(2) == other.text(2) == "not for it"
    assert one.replica.states() == other.replica.states()
    members = log.members(one.replica.db)
    assert (members.epoch, members.rotation_due) == (2, False)
    sent = [frames.parse(raw).header.epoch for raw in other.line.pushes[-1:]]
    assert sent == [2]


def test_what_it_sends_while_it_is_removed_counts_or_it_is_read_first() -> None:
    leaving, one, other = three()
    other.sync()

    def send_meanwhile(name: str) -> None:
        if name == "append_control":
            leaving.write(1, "the last word")
            leaving.sync()

    other.line.before = send_meanwhile
    device = log.read(leaving.replica.db).device
    with pytest.raises(ControlConflictError):
        membership.revoke(other.line, other.replica, device, other.random, other.now_ms)
    other.line.before = lambda _: None
    membership.revoke(other.line, other.replica, device, other.random, other.now_ms)
    settle([one, other])
    assert one.text(1) == other.text(1) == "the last word"


def full() -> tuple[Device, Device, Device]:
    """The first device has sent more that cannot be read than the last has room to set aside."""
    liar, one, other = three()
    too_early = inbox.Held(
        stream=stream_of(liar),
        seq=1_000,
        hash=bytes(32),
        pos=1,
        reason="waiting",
        applied=False,
        raw=bytes(inbox.HELD_BYTES_MAX),
    )
    with other.replica.transaction() as db:
        inbox.hold(db, too_early)
    for _ in range(3):
        send(liar, ops.encode_content([]), key=bytes(32))
    other.sync()
    return liar, one, other


def test_a_device_that_has_filled_all_room_is_removed_all_the_same() -> None:
    liar, one, other = full()
    assert log.read(other.replica.db).reread_after is not None
    removed(liar, by=other)
    other.write(2, "not for it")
    other.sync()
    one.sync()
    assert one.text(2) == "not for it"
    assert log.members(one.replica.db).epoch == 2


def test_what_an_update_is_needed_for_is_not_lost_where_there_is_no_room_for_it() -> None:
    liar, one, other = full()
    good = ops.encode_op(ops.Set(memory(1), 1 << 16, {Field.TEXT: said("good")}))
    to_come = msgspec.msgpack.encode([4, memory(1), 1 << 16, None])
    content = [1, 0, [], None, [msgspec.Raw(good), msgspec.Raw(to_come)]]
    send(one, msgspec.msgpack.encode(content))
    other.sync()
    removed(liar, by=one)
    for _ in range(3):
        other.time.pass_seconds(24 * 3_600)
        other.sync()
    assert other.text(1) == "good"
    (kept,) = inbox.half_applied(other.replica.db)
    assert kept.stream == stream_of(one)


def test_what_a_removed_device_left_behind_takes_no_room_from_others() -> None:
    liar, one, other = full()
    removed(liar, by=other)
    one.sync()
    send(one, ops.encode_content([]), key=bytes(32))
    other.sync()
    other.time.pass_seconds(3_600)
    other.sync()
    held = [held.stream for held in inbox.held(other.replica.db) if held.stream == stream_of(one)]
    assert held == [stream_of(one)]
    assert log.read(other.replica.db).reread_after is None


def test_what_waited_of_a_device_that_was_removed_without_it_is_let_go() -> None:
    """As through a folder, where whoever removes a device may not have all that it sent."""
    first, second, third = three()
    without = first.relay.split()
    send(second, msgspec.msgpack.encode([2, "of a later version"]))
    first.sync()
    assert first.alarms() == {"newer"}
    third.line.relay = without
    removed = log.read(second.replica.db).device
    membership.revoke(third.line, third.replica, removed, third.random, third.now_ms)
    first.relay.entries, first.relay.members = without.entries, without.members
    first.sync()
    assert inbox.held(first.replica.db) == []
    assert first.alarms() == {"revoked_device"}
    first.time.pass_ms(8 * 24 * 3_600_000)
    first.sync()
    assert first.alarms() == set()


def test_a_device_that_learns_of_its_removal_as_it_begins_another_stream_sends_nothing() -> None:
    leaving, one, other = three()
    with leaving.replica.transaction() as db:
        log.mark_copied(db)
    leaving.line.after = _loses_the_answer_to_an_entry
    leaving.sync()
    leaving.line.after = lambda _: None
    settle([one, other])
    removed(leaving, by=other)
    one.write(1)
    settle([one, other])
    leaving.write(2)
    sent = len(leaving.line.pushes)
    leaving.sync()
    assert len(leaving.line.pushes) == sent
    assert "revoked_device" in leaving.alarms()


def _loses_the_answer_to_an_entry(name: str) -> None:
    if name == "append_control":
        raise UnavailableError("The answer did not come.")


def test_an_emptied_server_is_given_back_a_list_with_removals() -> None:
    leaving, one, other = three()
    leaving.write(1)
    leaving.sync()
    removed(leaving, by=other)
    settle([one, other])
    one.relay.wipe()
    one.write(2)
    settle([one, other])
    assert other.text(2) == "tea"
    assert "reset" not in one.alarms() | other.alarms()
    assert len(one.relay.entries) == log.control_seq(one.replica.db)


def test_who_claims_what_nobody_has_does_not_make_the_others_fetch_snapshots_for_ever() -> None:
    liar, one, other = three()
    other.write(1)
    settle([one, other])
    members = log.members(other.replica.db)
    assert snapshots.write(other.line, other.replica, members, other.random, other.now_ms)
    send(liar, ops.encode_content([], heads=[Head(stream_of(other), 1_000, bytes(32))]))
    fetched: list[str] = []
    one.line.before = fetched.append
    settle([one, other])
    assert one.alarms() == {"gap"}
    assert fetched.count("segment") == 1


@pytest.mark.parametrize("how", ["far ahead", "otherwise", "by a snapshot"])
def test_who_claims_what_another_never_wrote_does_not_make_it_begin_new_streams(how: str) -> None:
    liar, one, other = three()
    other.write(1)
    settle([one, other])
    streams = {stream_of(other)}
    for number in range(5):
        stream = stream_of(other)
        seq = log.read(other.replica.db).seq
        told = [Head(stream, 1_000 + number if how == "far ahead" else max(1, seq), bytes(32))]
        if how == "by a snapshot":
            _claims_by_snapshot(liar, Head(stream, 1_000 + number, bytes(32)))
            other.relay.min_pos = 2
            with other.replica.transaction() as db:
                log.write(db, cursor=0)
        else:
            send(liar, ops.encode_content([], heads=told))
        other.sync()
        other.write(10 + number)
        other.time.pass_ms(3_000)
        other.sync()
        streams.add(stream_of(other))
    assert len(streams) <= (1 if how == "far ahead" else 2)
    other.relay.min_pos = 1
    settle([one, other])
    assert [one.text(10 + number) for number in range(5)] == ["tea"] * 5


def _claims_by_snapshot(liar: Device, head: Head) -> None:
    with liar.replica.transaction() as db:
        me, key = log.read(db), log.epoch_keys(db)[1]
    nothing = segments.Summary(bytes(32), me.generation, 0)
    manifest = manifests.Manifest(
        vault=me.vault,
        device=me.device,
        covers=(head,),
        segments=(),
        sealed=segments.seal_summary(key, me.vault, 1, nothing),
    )
    liar.line.put_manifest(manifests.write(manifest, me.sign_seed))


def test_versions_of_one_memory_beyond_all_measure_stop_no_snapshot() -> None:
    liar, one, other = three()
    one.write(2, "before it")
    for number in range(5):
        text = msgspec.msgpack.encode(f"{number}" * 1_200_000)
        send(liar, ops.encode_content([ops.Set(memory(1), number, {Field.TEXT: text})]))
    one.write(3, "after it")
    settle([one, other])
    members = log.members(one.replica.db)
    snapshots.write(one.line, one.replica, members, one.random, one.now_ms)
    (manifest,) = one.relay.manifests
    assert vouching.check(other.line, other.replica, members, manifest, other.now_ms)
    assert one.relay.compact() > 5
    newcomer = Device(one.relay, one.time, 5).join()
    newcomer.sync()
    assert newcomer.replica.states() == one.replica.states()
    assert newcomer.digest() == one.digest()
    assert verified(other).found == ()


@pytest.mark.parametrize(
    ("demanded", "is_read"),
    [({"suite_floor": 2, "min_reader": 1}, True), ({"suite_floor": 1, "min_reader": 2}, False)],
    ids=["suite", "reader"],
)
def test_a_device_that_is_too_old_for_the_vault_says_so_and_sends_nothing(
    demanded: dict[str, int], is_read: bool
) -> None:
    first, second = pair()
    with first.replica.transaction() as db:
        members, signer = log.members(db), listing.signer_of(log.read(db))
    first.line.append_control(amend.policy(members, signer, **demanded))
    second.write(2)
    asked: list[str] = []
    second.line.before = asked.append
    for _ in range(2):
        report = second.sync()
        assert [(one.kind, one.subject) for one in report.alarms] == [("newer", "device list")]
    assert "push" not in asked
    assert ("pull" in asked) == is_read
    assert second.text(2) == "tea"


def test_what_a_removed_device_does_to_the_list_has_its_own_name() -> None:
    gone, one, other = three()
    with gone.replica.transaction() as db:
        signer = listing.signer_of(log.read(db))
    removed(gone, by=other)
    members = log.members(other.replica.db)
    entry = amend.policy(members, signer, suite_floor=1, min_reader=1)
    one.sync()
    one.line.tamper_control = lambda said: [*said, entry]
    one.sync()
    assert one.alarms() == {"revoked_device"}
    assert log.members(one.replica.db) == members


def test_no_new_key_is_made_by_who_has_not_the_list_or_the_keys_of_today() -> None:
    _, one, other = three()
    stale = log.members(one.replica.db)
    rotate(other)
    entries = list(one.relay.entries)
    with pytest.raises(ControlConflictError):
        rotate(one, stale)
    one.sync()
    with one.replica.transaction() as db:
        db.execute("DELETE FROM sync_epochs WHERE epoch = 1")
    with pytest.raises(listing.NotSyncedError):
        rotate(one)
    assert one.relay.entries == entries
    assert log.members(one.replica.db).epoch == 2
    with other.replica.transaction() as db:
        kept = log.epoch_keys(db)
    with one.replica.transaction() as db:
        log.add_epoch_keys(db, kept)
    rotate(one)
    assert log.members(one.replica.db).epoch == 3


def rotate(device: Device, members: control.Members | None = None) -> None:
    now = members or log.members(device.replica.db)
    listing.rotate(device.line, device.replica, now, device.random, device.now_ms)
