"""One bad batch, or one bad operation in it, stops at most its own stream; a newer version's words are kept to the last byte."""

import hashlib
import tracemalloc
from typing import Any

import msgspec
import pytest
import zstandard
from msgspec import Raw

from shared import agreement, crypto
from sync_service.changes import ops
from sync_service.changes.clock import LATEST
from sync_service.changes.fields import Field
from sync_service.device import inbox, log, receive, snapshots
from sync_service.sealed import frames
from tests.sync.devices import Device, memory, pair, said, settle
from tests.sync.sealing import send

_PACK = msgspec.msgpack.encode


def _three() -> tuple[Device, Device, Device]:
    first, second = pair()
    third = Device(first.relay, first.time, 3).join()
    settle([first, second, third])
    return first, second, third


def _content(raws: list[bytes], version: int = 1) -> bytes:
    return _PACK((version, 0, [], None, [Raw(raw) for raw in raws]))


def _nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


POISON = {
    "no content": (b"\xc1 is never used", "malformed"),
    "nothing": (b"\xc0", "malformed"),
    "deeply nested": (_nested(100_000), "malformed"),
    "a list of something else": (_PACK([1, 2, 3]), "malformed"),
    "too many operations": (_content([b"\xc0"] * 4_097), "malformed"),
    "a newer form": (_PACK((9, "what is to come")), "newer"),
    "a number longer than needed": (b"\x95\xcc\x01\x00\x90\xc0\x90", "malformed"),
    "something after its end": (ops.encode_content([]) + b"\0", "malformed"),
    "a nest in an operation": (_content([])[:-1] + b"\x91" + _nested(100_000), "malformed"),
    "four billion operations": (b"\x95\x01\x00\x90\xc0\xdd\xff\xff\xff\xff", "malformed"),
    "a stream twice": (_PACK((1, 0, [(b"s" * 8, 1, b"h" * 32)] * 2, None, [])), "malformed"),
}


@pytest.mark.parametrize(("content", "alarm"), POISON.values(), ids=list(POISON))
def test_a_bad_batch_is_set_aside_and_other_streams_flow(content: bytes, alarm: str) -> None:
    first, second, third = _three()
    send(first, content)
    first.write(1, "after it")
    first.sync()
    third.write(2, "of another device")
    third.sync()
    second.sync()
    assert second.text(2) == "of another device"
    assert second.text(1) is None, "its own stream waits"
    assert second.alarms() == {alarm}
    assert [held.reason for held in inbox.held(second.replica.db)] == [alarm, "waiting"]
    second.sync()
    assert second.alarms() == {alarm}


def _sealed_as(device: Device, *, suite: int = 1, plaintext: bytes | None = None) -> bytes:
    """The next batch of a device, rightly signed, in another suite or around these bytes."""
    with device.replica.transaction() as db:
        me, key = log.read(db), log.epoch_keys(db)[1]
    salt = device.random(24)
    info = b"sunaiva/batch/1" + me.vault + me.stream + (me.seq + 1).to_bytes(8, "big")
    okm = crypto.derive_once(key, salt=salt, context=info, length=60)
    plain = plaintext if plaintext is not None else frames.pack(ops.encode_content([]))
    header = b"".join(
        (
            b"SV",
            bytes([suite, 0]),
            me.vault,
            me.stream,
            (me.seq + 1).to_bytes(8, "big"),
            (1).to_bytes(4, "big"),
            (1).to_bytes(4, "big"),
            me.head,
            salt,
            okm[44:],
            (len(plain) + 16).to_bytes(4, "big"),
        )
    )
    sealed = crypto.seal_once(okm[:32], okm[32:44], plain, bound_to=header)
    digest = hashlib.sha256(b"sunaiva/batch/1" + header + sealed).digest()
    signature = agreement.sign(me.sign_seed, b"sunaiva/signature/1" + digest)
    return header + sealed + signature


LARGE = zstandard.ZstdCompressor().compress(bytes(64 * 1024 * 1024))
SEALED = {
    "unfolds to 64 MiB": (
        {"plaintext": len(LARGE).to_bytes(4, "big") + b"\1" + LARGE},
        "malformed",
    ),
    "padded otherwise": ({"plaintext": frames.pack(ops.encode_content([])) + b"\0"}, "malformed"),
    "another compression": ({"plaintext": b"\0\0\0\1\7x"}, "malformed"),
    "a later suite": ({"suite": 2}, "newer"),
}


@pytest.mark.parametrize(("made", "alarm"), SEALED.values(), ids=list(SEALED))
def test_a_batch_that_is_sealed_around_nonsense_or_by_a_later_version_waits_by_its_name(
    made: dict[str, Any], alarm: str
) -> None:
    first, second, third = _three()
    raw = _sealed_as(first, **made)
    first.relay.head_pos += 1
    first.relay.log.append((first.relay.head_pos, raw))
    third.write(2, "of another device")
    third.sync()
    tracemalloc.start()
    second.sync()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert second.text(2) == "of another device"
    assert second.alarms() == {alarm}
    (held,) = inbox.held(second.replica.db)
    assert (held.reason, held.raw) == (alarm, raw)


def test_a_batch_larger_than_any_is_malformed_and_the_others_flow() -> None:
    first, second, third = _three()
    raw = bytearray(_sealed_as(first))
    raw[116:120] = (frames.FRAME_BYTES_MAX).to_bytes(4, "big")
    first.relay.head_pos += 1
    first.relay.log.append((first.relay.head_pos, bytes(raw) + bytes(frames.FRAME_BYTES_MAX)))
    third.write(2, "of another device")
    third.sync()
    second.sync()
    assert second.text(2) == "of another device"
    assert second.alarms() == {"malformed"}
    assert inbox.held(second.replica.db) == []


def test_another_key_than_the_vaults_is_set_aside() -> None:
    first, second, third = _three()
    send(first, ops.encode_content([]), key=bytes(32))
    third.write(2)
    third.sync()
    second.sync()
    assert second.text(2) == "tea"
    assert second.alarms() == {"unreadable"}


BAD_OPS = {
    "after 2200": _PACK((0, memory(5), LATEST + 1, ({1: Raw(said("x"))}, {}))),
    "a short id": _PACK((0, b"short", 5, ({1: Raw(said("x"))}, {}))),
    "the same field twice": b"\x94\x00\xc4\x10" + memory(5) + b"\x05\x92\x82\x01\xc0\x01\xc0\x80",
    "no operation": b"\xa4text",
}


@pytest.mark.parametrize("bad", BAD_OPS.values(), ids=list(BAD_OPS))
def test_a_bad_operation_is_set_aside_and_the_rest_of_its_batch_applied(bad: bytes) -> None:
    first, second, _ = _three()
    good = ops.encode_op(ops.Set(memory(1), 77 << 16, {Field.TEXT: said("good")}))
    send(first, _content([bad, good]))
    first.write(2, "after it")
    first.sync()
    second.sync()
    assert (second.text(1), second.text(2)) == ("good", "after it")
    # The sender does not hold itself what it has sent, and tells a digest all the same.
    assert second.alarms() == {"malformed", "diverged"}
    assert len(inbox.half_applied(second.replica.db)) == 1


def test_what_only_a_newer_version_understands_waits_for_it_and_the_rest_flows() -> None:
    first, second, _ = _three()
    newer = _PACK((9, memory(1), 7, ["to come"]))
    good = ops.encode_op(ops.Set(memory(1), 77 << 16, {Field.TEXT: said("good")}))
    send(first, _content([newer, good]))
    second.sync()
    assert second.text(1) == "good"
    assert second.alarms() == {"newer"}
    (kept,) = inbox.half_applied(second.replica.db)
    assert kept.raw == first.relay.log[-1][1], "to the last byte"


def test_unknown_fields_and_kinds_pass_through_an_old_device_to_a_new_one() -> None:
    first, second, _ = _three()
    of_field = _PACK({200: Raw(_PACK({"of": ["a", "later", "version"]}))})
    unknown_field = _PACK((0, memory(1), 77 << 16, (Raw(of_field), {})))
    unknown_kind = _PACK((64, memory(1), 78 << 16, ["anything", 1.5]))
    send(first, _content([unknown_field, unknown_kind]))
    settle([second])
    second.write(1, "edited by an old version")
    settle([second])
    members = log.members(second.replica.db)
    assert snapshots.write(second.line, second.replica, members, second.random, second.now_ms)
    newcomer = Device(first.relay, first.time, 7).join()
    newcomer.sync()
    state = newcomer.replica.states()[memory(1)]
    assert state.fields[200][2] == _PACK({"of": ["a", "later", "version"]})
    assert [payload for _, _, _, payload in state.foreign] == [_PACK(["anything", 1.5])]
    assert second.alarms() == set()


def test_after_an_update_what_waited_is_applied() -> None:
    """Here the key comes late; the way back is the same."""
    first, second, _ = _three()
    key = log.epoch_keys(second.replica.db)[1]
    second.replica.db.execute("DELETE FROM sync_epochs")
    first.write(1, "one")
    first.sync()
    first.write(1, "two")
    first.sync()
    second.sync()
    assert second.text(1) is None
    assert "unreadable" in second.alarms()
    with second.replica.transaction() as db:
        log.add_epoch_keys(db, {1: key})
    second.sync()
    assert second.text(1) == "two"
    assert second.alarms() == set()
    receive.retry_half_applied(
        second.replica, log.members(second.replica.db), second.random, second.now_ms
    )
    assert second.digest() == first.digest()


def test_a_device_that_only_sends_noise_fills_nothing_without_end() -> None:
    first, second, _ = _three()
    with second.replica.transaction() as db:
        room = inbox.room(db)
    send(first, b"\xc1" * 1_000)
    for _ in range(20):
        send(first, ops.encode_content([]))
    second.sync()
    with second.replica.transaction() as db:
        assert 0 < room - inbox.room(db) < 21 * 600
