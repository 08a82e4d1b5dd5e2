"""What a server that records everything could learn from sizes, names and times: of two people who differ in all that is theirs, the same."""

import hashlib
import re

from sync_service.device import log, snapshots
from sync_service.members import pairing
from sync_service.sealed import frames, manifests
from tests.sync.circle import seeds_of
from tests.sync.devices import NOW, memory, pair, settle
from tests.sync.fake_relay import Relay
from tests.sync.test_pairing import SECRET, TOLD, challenged, offered

DAY_MS = 24 * 3_600_000
_FRAME_OVERHEAD = 120 + 16 + 64
_SEGMENT_OVERHEAD = 4 + 1 + 12 + 16


def _life(words: list[str], tags: list[list[str]]) -> Relay:
    """A day of somebody who stores, edits, tags, forgets and takes a snapshot."""
    first, second = pair()
    for number, (text, chosen) in enumerate(zip(words, tags, strict=True)):
        first.write(number, text, tags=chosen)
        first.sync()
    second.forget(0)
    second.write(1, words[-1])
    settle([first, second])
    members = log.members(first.replica.db)
    assert snapshots.write(first.line, first.replica, members, first.random, first.now_ms)
    return first.relay


def test_every_size_that_a_server_sees_is_of_a_few_classes() -> None:
    relay = _life([f"text {'x' * number}" for number in range(20)], [["t" * 9]] * 20)
    batches = [raw for raw in relay.seen if raw.startswith(b"SV")]
    assert len(batches) > 20
    for raw in batches:
        assert len(raw) - _FRAME_OVERHEAD == frames.padded_length(len(raw) - _FRAME_OVERHEAD)
    for sealed in relay.segments.values():
        inside = len(sealed) - _SEGMENT_OVERHEAD
        assert inside == frames.padded_length(inside)
    assert relay.segments
    (manifest,) = map(manifests.read, relay.manifests)
    inside = len(manifest.sealed) - _SEGMENT_OVERHEAD
    assert inside == frames.padded_length(inside)


def test_words_of_a_length_cannot_be_told_from_each_other_nor_a_tag_from_none() -> None:
    one = _life(["green tea"] * 6, [["work"]] * 6)
    other = _life(["Xq9? zz.."] * 6, [["home"]] * 6)
    assert [len(raw) for raw in one.seen] == [len(raw) for raw in other.seen]


def test_what_was_done_cannot_be_told_from_the_size_of_its_batch() -> None:
    """An edit of a word, a tag, a pin and a forget fall into as few sizes as sealing has."""
    sizes = set()
    for number in range(4):
        first, _ = pair()
        first.write(1, "tea")
        first.sync()
        if number == 0:
            first.forget(1)
        elif number == 1:
            first.write(1, "milk")
        else:
            first.replica.write(memory(1), first.now_ms, tags=["x" * number])
        first.sync()
        sizes.add(len(first.line.pushes[-1]))
    assert len(sizes) <= 3
    assert max(sizes) - min(sizes) < 100


def test_a_segment_is_named_by_chance_and_not_by_what_it_holds() -> None:
    first, _ = pair()
    first.write(1)
    settle([first])
    for _ in range(2):
        first.time.pass_ms(DAY_MS)
        members = log.members(first.replica.db)
        assert snapshots.write(first.line, first.replica, members, first.random, first.now_ms)
    names = list(first.relay.segments)
    assert len(names) == 2, "the same memories twice, under two names"
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)
    for name, sealed in first.relay.segments.items():
        assert name != hashlib.sha256(sealed).hexdigest()[:32]


def test_a_quiet_device_is_heard_of_once_a_day_whatever_it_holds() -> None:
    """When something is sent says that somebody was active; how much is there does not show in it."""
    heard: list[list[int]] = []
    for count in (1, 40):
        first, second = pair()
        for number in range(count):
            first.write(number)
        settle([first, second])
        before = len(first.line.pushes)
        start = first.time.now_ms
        times = []
        for _ in range(72):
            first.time.pass_ms(DAY_MS // 24)
            first.sync()
            if len(first.line.pushes) > before:
                before = len(first.line.pushes)
                times.append(first.time.now_ms - start)
        heard.append(times)
    assert heard[0] == heard[1]
    assert len(heard[0]) == 3


def _messages(name: str, text: bytes) -> list[bytes]:
    """What a mailbox holds of a pairing."""
    new = offered()
    old = challenged(new.message)
    revealed = pairing.reveal(new, old.message, name=name)
    met = pairing.meet(old, revealed.message)
    assert met.name == name
    digest = hashlib.sha256(text).digest()
    told = pairing.Welcome(
        vault=TOLD.vault,
        control_seq=TOLD.control_seq,
        control_hash=TOLD.control_hash,
        epoch=TOLD.epoch,
        epoch_key=hashlib.sha256(b"key" + text).digest(),
        heads=TOLD.heads,
        digest=digest,
    )
    welcome = pairing.welcome(met, told, is_same_number=True)
    return [new.message, old.message, revealed.message, welcome]


def test_a_mailbox_shows_the_same_sizes_whatever_a_device_is_called_and_holds() -> None:
    one = _messages("x", b"tea")
    other = _messages("Anna's old laptop in the kitchen", b"milk")
    assert [len(message) for message in one] == [len(message) for message in other]
    said = b"".join(other)
    for secret in (b"Anna", b"laptop", SECRET, seeds_of("phone").sign, TOLD.epoch_key):
        assert secret not in said
        assert secret.hex().encode() not in said


def test_no_clock_of_a_device_leaves_it() -> None:
    first, second = pair()
    first.skew_ms = 7 * DAY_MS
    first.write(1, "tea")
    settle([first, second])
    seen = b"".join(first.relay.seen)
    for ms in range(NOW + first.skew_ms, NOW + first.skew_ms + 20_000):
        assert ms.to_bytes(6, "big") not in seen
