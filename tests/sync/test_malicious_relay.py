"""What a server could try. Each attack raises its own alarm, and no memory is altered by any."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from sync_service.changes import ops
from sync_service.changes.fields import Field
from sync_service.device import listing, log, membership
from sync_service.members import amend, control, entries
from sync_service.members.entries import MEMBER_SIGNER, Signer
from sync_service.sealed import frames, keys
from sync_service.sealed.keys import Seeds
from sync_service.steps import sealing
from sync_service.steps.step import Report, Run
from sync_service.transport import ForkError
from tests.sync.devices import NOW, RECOVERY, Device, Time, memory, pair, said, settle
from tests.sync.fake_relay import Relay, Shown

DAY_MS = 24 * 3_600_000


def _flip(at: int) -> Callable[[Shown], Shown]:
    """Flips one bit of the last batch shown."""

    def tamper(shown: Shown) -> Shown:
        if not shown:
            return shown
        pos, raw = shown[-1]
        place = at % len(raw)
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        return (*shown[:-1], (pos, changed))

    return tamper


def _victim() -> tuple[Device, Device]:
    first, second = pair()
    first.write(1, "tea")
    settle([first, second])
    first.write(1, "green tea")
    first.write(2, "milk")
    first.sync()
    return first, second


def _untouched(second: Device) -> None:
    assert second.text(1) == "tea"
    assert second.text(2) is None


PLACES = {
    "magic": (0, {"malformed"}),
    "suite": (2, {"malformed"}),
    "flags": (3, {"forged"}),
    "vault": (5, {"wrong_vault"}),
    "stream": (22, {"unknown_device"}),
    "seq": (35, {"forged"}),
    "epoch": (39, {"malformed"}),
    "device list": (43, {"forged", "device_list_withheld"}),
    "chain": (50, {"forged"}),
    "salt": (80, {"forged"}),
    "commitment": (105, {"forged"}),
    "length": (119, {"malformed"}),
    "ciphertext": (130, {"forged"}),
    "signature": (-1, {"forged"}),
}


@pytest.mark.parametrize(("at", "named"), PLACES.values(), ids=list(PLACES))
def test_a_flipped_bit_is_found_and_heals_once_the_server_shows_the_truth(
    at: int, named: set[str]
) -> None:
    first, second = _victim()
    second.line.tamper = _flip(at)
    second.sync()
    _untouched(second)
    assert second.alarms() & named
    second.line.tamper = lambda shown: shown
    for _ in range(3):
        second.time.pass_ms(DAY_MS)
        second.sync()
    assert second.text(1) == "green tea"
    assert second.digest() == first.digest()
    assert second.alarms() == set()


def test_batches_in_another_order_wait_for_the_right_one() -> None:
    first, second = pair()
    for number in range(3):
        first.write(number)
        first.sync()
    second.line.tamper = lambda shown: tuple(
        (pos, raw) for (pos, _), (_, raw) in zip(shown, reversed(shown), strict=True)
    )
    second.sync()
    assert second.digest() == first.digest()
    assert second.alarms() == set()


def test_a_replayed_batch_changes_nothing() -> None:
    first, second = pair()
    first.write(1)
    first.sync()
    second.sync()
    before = second.digest()
    old = first.relay.log[-1][1]
    first.write(2)
    first.sync()
    second.line.tamper = lambda shown: tuple((pos, old) for pos, _ in shown)
    second.sync()
    assert second.digest() == before


def test_a_dropped_batch_is_missed_when_the_next_one_comes() -> None:
    first, second = pair()
    first.write(1)
    first.sync()
    dropped = first.relay.log[-1][1]
    first.write(2)
    first.sync()
    second.line.tamper = lambda shown: tuple((pos, raw) for pos, raw in shown if raw != dropped)
    second.sync()
    assert "reordered" in second.alarms()
    assert second.text(2) is None


def test_a_dropped_tail_is_told_by_another_device() -> None:
    first, second = pair()
    third = Device(first.relay, first.time, 3).join()
    settle([first, second, third])
    first.write(1)
    first.sync()
    hidden = first.relay.log[-1][1]
    third.sync()
    third.write(9)
    third.sync()
    second.line.tamper = lambda shown: tuple((pos, raw) for pos, raw in shown if raw != hidden)
    second.sync()
    assert "gap" in second.alarms()
    assert second.text(9) == "tea"
    second.line.tamper = lambda shown: shown
    second.time.pass_ms(DAY_MS)
    second.sync()
    assert second.text(1) == "tea"
    assert second.alarms() == set()


def test_everything_held_back_becomes_stale() -> None:
    _, second = pair()
    second.line.tamper = lambda shown: ()
    second.relay.head_pos += 1
    second.time.pass_ms(8 * DAY_MS)
    report = second.sync()
    assert not report.reached_head
    assert "stale" in second.alarms()


def test_two_devices_shown_different_things_find_out_when_they_meet() -> None:
    first, second = pair()
    third = Device(first.relay, first.time, 3).join()
    settle([first, second, third])
    clone = Device(first.relay, first.time, 8)
    first.replica.db.conn.backup(clone.replica.db.conn)
    elsewhere = Relay()
    elsewhere.restore(first.relay.backup())
    elsewhere.generation = first.relay.generation
    clone.line.relay = elsewhere
    clone.line.device = first.line.device
    third.line.relay = elsewhere
    first.write(1, "one")
    clone.write(1, "two")
    for device in (first, clone, second, third):
        device.sync()
    assert (second.text(1), third.text(1)) == ("one", "two")
    third.line.relay = first.relay
    third.write(5)
    settle([third, second])
    assert "fork" in second.alarms() | third.alarms()
    assert second.text(1) == "one"


def test_what_is_not_encrypted_is_no_batch() -> None:
    _, second = pair()
    plain = ops.encode_content([ops.Set(memory(1), NOW << 16, {Field.TEXT: said("lie")})])
    second.relay.log.append((second.relay.head_pos + 1, plain))
    second.relay.head_pos += 1
    second.sync()
    assert "malformed" in second.alarms()
    assert second.text(1) is None


def test_a_batch_of_a_stranger_is_not_used() -> None:
    _, second = pair()
    stranger = keys.new_seeds(bytes)
    key = log.epoch_keys(second.replica.db)[1]
    content = ops.encode_content([ops.Set(memory(1), NOW << 16, {Field.TEXT: said("lie")})])
    frame = frames.seal(
        content,
        vault=log.read(second.replica.db).vault,
        stream=keys.stream_id(keys.sign_public(stranger), 1),
        seq=1,
        epoch=1,
        control_seq=1,
        prev_hash=frames.NO_HASH,
        epoch_key=key,
        sign_seed=stranger.sign,
        salt=bytes(24),
    )
    second.relay.log.append((second.relay.head_pos + 1, frame.raw))
    second.relay.head_pos += 1
    second.sync()
    assert "unknown_device" in second.alarms()
    assert second.text(1) is None


def _demand_more(first: Device) -> None:
    """The vault demands a later suite than there is."""
    members = log.members(first.replica.db)
    me = log.read(first.replica.db)
    signer = Signer(MEMBER_SIGNER, Seeds(me.sign_seed, me.kem_seed))
    entry = amend.policy(members, signer, suite_floor=2, min_reader=1)
    listing.append(first.line, first.replica, members, entry, first.now_ms)


def test_an_older_suite_than_the_vault_demands_is_refused() -> None:
    first, second = pair()
    first.write(1, "tea")
    settle([first, second])
    _demand_more(first)
    members = log.members(first.replica.db)
    me, key = log.read(first.replica.db), log.epoch_keys(first.replica.db)[1]
    late = frames.seal(
        ops.encode_content((ops.Set(memory(1), 1 << 60, {Field.TEXT: said("green tea")}),)),
        vault=me.vault,
        stream=me.stream,
        seq=me.seq + 1,
        epoch=1,
        control_seq=members.seq,
        prev_hash=me.head,
        epoch_key=key,
        sign_seed=me.sign_seed,
        salt=bytes(24),
    )
    second.relay.log.append((second.relay.head_pos + 1, late.raw))
    second.relay.head_pos += 1
    second.sync()
    assert "downgrade" in second.alarms()
    assert second.text(1) == "tea"


def test_what_was_sealed_before_the_vault_demanded_more_stays_readable() -> None:
    first, second = _victim()
    _demand_more(first)
    second.sync()
    assert "downgrade" not in second.alarms()
    assert (second.text(1), second.text(2)) == ("green tea", "milk")
    newcomer = Device(first.relay, first.time, 3).join()
    newcomer.sync()
    assert newcomer.text(2) == "milk"
    assert "downgrade" not in newcomer.alarms()


def _forged_add(second: Device) -> bytes:
    """By somebody who is no member."""
    stranger = keys.new_seeds(lambda count: b"\x07" * count)
    members = log.members(second.replica.db)
    newcomer = entries.introduce(stranger, vault=members.vault)
    key = log.epoch_keys(second.replica.db)[1]
    return amend.add(
        members,
        Signer(MEMBER_SIGNER, stranger),
        newcomer,
        sealed_name=bytes(61),
        epoch_key=key,
    )


def _wrong_kem_key(second: Device) -> bytes:
    """A true entry of the recovery words, with another key to seal to."""
    members = log.members(second.replica.db)
    newcomer = entries.introduce(keys.new_seeds(lambda n: b"\x05" * n), vault=members.vault)
    other = keys.kem_public(keys.new_seeds(lambda n: b"\x09" * n))
    return amend.add(
        members,
        Signer(entries.RECOVERY_SIGNER, RECOVERY),
        replace(newcomer, kem_public=other),
        sealed_name=bytes(61),
        epoch_key=log.epoch_keys(second.replica.db)[1],
    )


LISTS: dict[str, Callable[[Device], bytes]] = {
    "a device that nobody admitted": _forged_add,
    "another key to seal to": _wrong_kem_key,
    "an entry of before once more": lambda second: second.relay.entries[1],
    "no entry at all": lambda second: b"entry" * 40,
}


@pytest.mark.parametrize("entry", LISTS.values(), ids=list(LISTS))
def test_a_forged_device_list_is_not_believed(entry: Callable[[Device], bytes]) -> None:
    first, second = _victim()
    before = log.control(second.replica.db)
    forged = entry(second)
    second.line.tamper_control = lambda true: [*true, forged]
    second.sync()
    assert "forged_device_list" in second.alarms()
    assert log.control(second.replica.db) == before
    assert second.text(1) == "green tea", "what is sound goes on"
    second.line.tamper_control = lambda true: true
    second.sync()
    assert "forged_device_list" not in second.alarms()
    assert first.digest() == second.digest()


def test_a_device_list_held_back_is_named() -> None:
    first, second = pair()
    third = Device(first.relay, first.time, 3).join()
    third.write(3)
    third.sync()
    second.line.tamper_control = lambda true: []
    second.sync()
    assert "device_list_withheld" in second.alarms()
    assert second.text(3) is None
    second.line.tamper_control = lambda true: true
    second.time.pass_ms(DAY_MS)
    second.sync()
    assert second.text(3) == "tea"
    assert "device_list_withheld" not in second.alarms()


def test_a_server_with_another_date_is_told() -> None:
    _, second = pair()
    second.relay.server_time_ms = second.now_ms + 10 * 60_000
    second.sync()
    assert second.alarms() == {"clock_off"}
    second.relay.server_time_ms = second.now_ms
    second.sync()
    assert second.alarms() == set()


def test_a_server_that_cries_fork_without_showing_one_is_not_believed() -> None:
    first, second = pair()
    stream = log.own_stream(second.replica.db)

    def cry(name: str) -> None:
        if name == "push":
            raise ForkError(stream, 1)

    second.line.before = cry
    second.write(5)
    second.sync()
    assert "fork" in second.alarms()
    assert log.own_stream(second.replica.db) == stream
    second.line.before = lambda _: None
    settle([first, second])
    assert first.text(5) == "tea"


def test_a_removed_device_is_not_listened_to_any_more() -> None:
    first, second = pair()
    third = Device(first.relay, first.time, 3).join()
    settle([first, second, third])
    removed = log.read(third.replica.db).device
    membership.revoke(first.line, first.replica, removed, first.random, first.now_ms)
    third.line.device = None  # the server lets it in all the same
    third.line.tamper_control = lambda true: []
    third.write(3, "spy")
    raw = _sealed(third)
    first.relay.log.append((first.relay.head_pos + 1, raw))
    first.relay.head_pos += 1
    second.sync()
    assert "revoked_device" in second.alarms()
    assert second.text(3) is None
    second.write(4, "secret")
    second.sync()
    assert max(log.epoch_keys(third.replica.db)) < control.replay(first.relay.entries).epoch


def _sealed(device: Device) -> bytes:
    """The next batch of a device, as it would send it."""
    run = Run(device.engine, log.members(device.replica.db), Report(), device.now_ms)
    sealing.seal(run, patiently=False)
    return log.unsent(device.replica.db, bytes_max=1 << 20, most=9)[-1].raw


def test_a_removed_device_learns_that_it_was_removed() -> None:
    first, second = pair()
    removed = log.read(second.replica.db).device
    membership.revoke(first.line, first.replica, removed, first.random, first.now_ms)
    second.write(1)
    second.sync()
    assert "revoked_device" in second.alarms()
    assert second.text(1) == "tea"


def test_every_answer_at_once_is_survived() -> None:
    """Noise instead of pages: no alarm is missed, no memory touched, no step raises."""
    time = Time()
    relay = Relay()
    first = Device(relay, time, 1).found()
    second = Device(relay, time, 2).join()
    first.write(1)
    settle([first, second])
    noise = [first.random(length) for length in (0, 1, 119, 120, 185, 4_000)]
    second.line.tamper = lambda shown: tuple(enumerate(noise, second.relay.head_pos + 1))
    second.sync()
    assert second.text(1) == "tea"
    assert "malformed" in second.alarms()
