"""Two versions of the program side by side. The later one is written out here, byte by byte, as nobody's code of today would: fields,
kinds, contents and suites that this one does not know. This one is the older program, as it will be.
"""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from sync_service.changes import ops
from sync_service.changes.fields import Field
from sync_service.device import inbox, log, receive, snapshot_joining, snapshots
from sync_service.device.inbox import Held
from sync_service.sealed import frames, manifests, pieces, segments
from tests.sync.devices import Device, memory, pair, said, settle, verified
from tests.sync.sealing import send

_PACK = msgspec.msgpack.encode
HLC = 77 << 16
MOOD, MAP, PLACE = 90, 200, 255
"""Fields of a later version."""
VALUES: dict[int, bytes] = {
    MOOD: b"\xa5happy",
    MAP: _PACK({"of": ["a", "later", {"version": 1.5}]}),
    PLACE: b"\xc7\x03\x2aabc",  # an extension type
}
REACTION, POLL = 64, 127
"""Kinds that may be passed over."""


def _of_later_version(number: int) -> list[bytes]:
    fields = {Field.TEXT: said("by the later"), **VALUES}
    written = Raw(_PACK([{field: Raw(value) for field, value in fields.items()}, {}]))
    return [
        _PACK([0, memory(number), HLC, written]),
        _PACK([REACTION, memory(number), HLC + 1, ["thumbs", {"up": 2}]]),
        _PACK([POLL, memory(number), HLC + 2, None]),
    ]


def _content(raws: list[bytes], version: int = 1) -> bytes:
    return _PACK([version, 0, [], None, [Raw(raw) for raw in raws]])


def _read_by_later(device: Device, number: int) -> tuple[dict[int, bytes], set[tuple[int, Any]]]:
    """What a later version finds in a snapshot of this device: its own fields and kinds, read with nothing of ours but the seal."""
    ids = device.line.manifests()
    manifest = manifests.read(ids[0])
    keys = log.epoch_keys(device.replica.db)
    found: dict[int, bytes] = {}
    kinds: set[tuple[int, Any]] = set()
    for segment in manifest.segments:
        sealed = device.line.segment(segment.name)
        content = pieces.unseal_segment(
            sealed, segments.SEGMENTS, segment, vault=manifest.vault, epoch_keys=keys
        )
        _, rows = msgspec.msgpack.decode(content)
        for id_, (clocks, _values) in rows:
            if id_ == memory(number):
                found |= clocks[6] if len(clocks) > 6 else {}
                kinds |= {(kind, bytes(payload)) for kind, _, _, payload in clocks[5]}
                assert {
                    field: hlc
                    for hlc, _, fields in clocks[0]
                    for field in fields
                    if field in VALUES
                } == dict.fromkeys(VALUES, HLC)
    return found, kinds


def _snapshot(device: Device) -> None:
    members = log.members(device.replica.db)
    assert snapshots.write(device.line, device.replica, members, device.random, device.now_ms)


def _old_edits(device: Device) -> None:
    """Everything that the older program lets a person do to a memory."""
    device.write(1, "by the older", tags=["old"], links=[("about", memory(2))])
    archived: dict[int, bytes] = {Field.ARCHIVED: b"\xc3", Field.PINNED: b"\xc3"}
    device.replica.write(memory(1), device.now_ms, fields=archived)
    device.replica.write(memory(1), device.now_ms, tags=[])


def test_edits_of_the_older_keep_what_it_does_not_know_to_the_last_byte() -> None:
    later, older = pair()
    send(later, _content(_of_later_version(1)))
    settle([older])
    _old_edits(older)
    settle([older])
    assert older.alarms() == set()
    _snapshot(older)
    fields, kinds = _read_by_later(older, 1)
    assert fields == VALUES
    assert kinds == {(REACTION, _PACK(["thumbs", {"up": 2}])), (POLL, b"\xc0")}


def test_what_the_older_passes_on_is_passed_on_again_and_again() -> None:
    """Through three older devices, each of which only ever saw the snapshot of the one before."""
    later, older = pair()
    send(later, _content(_of_later_version(1)))
    settle([older])
    for seed in range(3):
        _snapshot(older)
        newcomer = Device(older.relay, older.time, 50 + seed).join()
        settle([newcomer])
        newcomer.time.pass_ms(60_000)
        _old_edits(newcomer)
        settle([older, newcomer])
        older = newcomer
    _snapshot(older)
    fields, kinds = _read_by_later(older, 1)
    assert fields == VALUES
    assert len(kinds) == 2


def test_a_later_value_of_an_unknown_field_wins_on_the_older_too() -> None:
    later, older = pair()
    send(later, _content(_of_later_version(1)))
    newer = _PACK([0, memory(1), HLC + 9, [{MOOD: "sad"}, {}]])
    earlier = _PACK([0, memory(1), HLC - 9, [{PLACE: "elsewhere"}, {}]])
    send(later, _content([newer, earlier]))
    settle([older])
    state = older.replica.states()[memory(1)]
    assert state.fields[MOOD][2] == b"\xa3sad"
    assert state.fields[PLACE][2] == VALUES[PLACE]


def test_the_older_forgets_what_it_does_not_know_as_well() -> None:
    later, older = pair()
    send(later, _content(_of_later_version(1)))
    settle([older])
    older.forget(1)
    settle([older])
    _snapshot(older)
    (state,) = older.replica.states().values()
    assert state.forgotten
    held = b"".join(
        pieces.unseal(
            sealed,
            segments.SEGMENTS,
            vault=log.read(older.replica.db).vault,
            epoch_keys=log.epoch_keys(older.replica.db),
            name=name,
        )
        for name, sealed in older.relay.segments.items()
    )
    assert b"thumbs" not in held
    assert b"happy" not in held


def test_what_has_to_be_understood_waits_alone_and_the_rest_of_its_batch_goes_on() -> None:
    later, older = pair()
    critical = _PACK([4, memory(1), HLC + 3, {"merge": "otherwise"}])
    send(later, _content([*_of_later_version(1), critical]))
    send(later, _content(_of_later_version(2)))
    settle([older])
    assert older.text(1) == older.text(2) == "by the later"
    assert older.alarms() == {"newer"}
    (kept,) = inbox.half_applied(older.replica.db)
    opened = ops.decode_content(
        frames.open_frame(frames.parse(kept.raw), log.epoch_keys(older.replica.db)[1])
    )
    assert opened.newer == (critical,)
    older.write(5, "goes on")
    older.sync()
    assert older.relay.log[-1][1] == older.line.pushes[-1]


@pytest.mark.parametrize("version", [2, 200])
def test_a_form_that_only_a_later_version_reads_waits_and_other_streams_flow(version: int) -> None:
    later, older = pair()
    third = Device(later.relay, later.time, 3).join()
    send(later, _content([b"\x01"], version))
    third.write(2, "of another")
    third.sync()
    settle([older])
    assert older.text(2) == "of another"
    assert older.alarms() == {"newer"}
    (held,) = inbox.held(older.replica.db)
    assert held.reason == "newer"
    assert held.raw in [raw for _, raw in later.relay.log]


def test_no_snapshot_is_written_or_vouched_for_by_who_did_not_understand_everything() -> None:
    """What an older device holds of it would be less than what was said."""
    later, older = pair()
    send(later, _content([_PACK([9, memory(1), HLC, "to come"])]))
    settle([older])
    members = log.members(older.replica.db)
    assert snapshots.write(older.line, older.replica, members, older.random, older.now_ms) is None


def test_what_has_to_be_understood_waits_however_often_it_is_shown() -> None:
    later, older = pair()
    send(later, _content([*_of_later_version(1), _PACK([4, memory(1), HLC + 3, None])]))
    settle([older])
    (kept,) = inbox.half_applied(older.replica.db)
    verified(older)
    settle([older])
    assert inbox.half_applied(older.replica.db) == [kept]
    assert older.alarms() == {"newer"}


def test_after_an_update_all_that_waited_is_understood_at_once() -> None:
    """However much waited, and whatever else that no version reads stands in the same batch."""
    later, older = pair()
    for number in range(70):
        good = ops.encode_op(ops.Set(memory(number), HLC, {Field.TEXT: said("understood")}))
        send(later, _content([good, b"\x01"]))
    with (
        older.replica.transaction() as db
    ):  # as an earlier program leaves it that knew none of these operations
        for pos, raw in later.relay.log[-70:]:
            frame = frames.parse(raw)
            stream, seq = frame.header.stream, frame.header.seq
            inbox.advance(db, stream, [(seq, frame.hash, pos)], older.now_ms)
            inbox.hold(
                db,
                Held(
                    stream=stream,
                    seq=seq,
                    hash=frame.hash,
                    pos=pos,
                    reason="newer",
                    applied=True,
                    raw=raw,
                ),
            )
    members = log.members(older.replica.db)
    receive.retry_half_applied(older.replica, members, older.random, older.now_ms)
    assert {older.text(number) for number in range(70)} == {"understood"}
    assert not inbox.is_half_applied(older.replica.db)


def test_what_a_snapshot_brought_waits_for_no_update_any_more() -> None:
    later, older = pair()
    send(later, _content([b"\x01"], 2))
    settle([older])
    assert older.alarms() == {"newer"}
    later.sync()
    _snapshot(later)
    members = log.members(older.replica.db)
    snapshot_joining.join_others(older.line, older.replica, members, older.random, older.now_ms)
    older.sync()
    assert inbox.held(older.replica.db) == []
    assert older.alarms() == set()


def test_much_that_waits_for_an_update_is_one_alarm() -> None:
    later, older = pair()
    for number in range(20):
        send(later, _content([_PACK([4, memory(number), HLC, None])]))
    older.sync()
    (alarm,) = older.all_alarms()
    assert (alarm.kind, alarm.times) == ("newer", 20)
