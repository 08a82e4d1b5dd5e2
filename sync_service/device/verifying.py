"""Everything that is here and at the relay, gone through once more because a person asks: nothing of it is taken for granted.

What it finds is told like what a step finds (`losses`), so it is healed in the same way. It changes no memory.
"""

from collections.abc import Generator

from msgspec import Struct

from shared.errors import CorruptError, ForbiddenError
from sync_service import relay
from sync_service.changes import merge
from sync_service.changes.ops import MalformedError
from sync_service.device import listing, log, losses, membership, snapshots
from sync_service.device.replica import Replica
from sync_service.members.control import Members
from sync_service.sealed import frames, segments
from sync_service.transport import (
    BusyError,
    CompactedError,
    GenerationChangedError,
    Known,
    Loss,
    NoSegmentError,
    Page,
    Range,
    Transport,
)
from sync_service.transports import folder_shelf

_STATES_AT_ONCE = 1_000
# As many as a step reads at most.
_PAGES_MAX = 4_096
_COMPARED_MAX = 8
_SHORT_LIST = "A part of the list of devices is missing or damaged where your devices meet. This device gives it back."


class Progress(Struct, frozen=True):
    doing: str
    done: int


class Verified(Struct, frozen=True, kw_only=True):
    """What was found."""

    sound: bool
    """The memories here are what this device has agreed on with the others."""
    memories: int
    found: tuple[str, ...]
    """What is not as it should be where the devices meet, in sentences."""


Steps = Generator[Progress, None, Verified]


def verify(transport: Transport, replica: Replica, now_ms: int) -> Steps:
    """
    Raises:
        UnavailableError: the relay does not answer.
    """
    with replica.transaction() as db:
        me, members, expected = log.read(db), log.members(db), losses.known(db)
        entries = log.control(db)
    count, sound = yield from _compare(replica)
    shown = membership.read_list(transport)[: len(entries)]
    yield Progress("Reading what is there", 0)
    lost = transport.lost(expected, now_ms=now_ms, thoroughly=True)
    has_log = lost is None
    if lost is None:
        lost = yield from _lost_in_log(transport, members, expected, me.generation)
    lost += yield from _lost_snapshot(transport, replica, members)
    with replica.transaction() as db:
        own = log.taken(db)
        found = [losses.sentence(each, is_own=each.stream in own, has_log=has_log) for each in lost]
        if shown != entries[: len(shown)]:
            log.raise_alarm(db, "forged_device_list", "device list", listing.ANOTHER_LIST, now_ms)
            found.append(listing.ANOTHER_LIST)
        elif shown != entries:
            found.append(_SHORT_LIST)
        losses.tell(db, lost, now_ms, has_read_all=True, has_log=has_log)
        log.write(db, cursor=0)  # the next step judges each batch anew
    return Verified(sound=sound, memories=count, found=tuple(dict.fromkeys(found)))


def _compare(replica: Replica) -> Generator[Progress, None, tuple[int, bool]]:
    """How many states there are, and whether they come to the digest that was agreed on. What is written meanwhile is neither right
    nor wrong: it is looked at again.

    Raises:
        BusyError
    """
    for _ in range(_COMPARED_MAX):
        with replica.transaction() as db:
            agreed = log.digest(db)
        count, digest = yield from _count(replica)
        with replica.transaction() as db:
            if log.digest(db) == agreed:
                return count, digest == agreed
    raise BusyError("Memories are written here all the time. Try again when it is quieter.")


def _count(replica: Replica) -> Generator[Progress, None, tuple[int, bytes]]:
    total = count = 0
    after: bytes | None = None
    while True:
        with replica.transaction() as db:
            rows = list(replica.rows(db, after, _STATES_AT_ONCE))
        if not rows:
            return count, merge.digest(total)
        total += sum(merge.fingerprint(memory, state) for memory, state in rows)
        count, after = count + len(rows), rows[-1][0]
        yield Progress("Comparing", count)


def _lost_in_log(
    transport: Transport, members: Members, expected: Known, generation: str | None
) -> Generator[Progress, None, list[Loss]]:
    """What a relay's log does not show of what it had, or shows altered."""
    there: dict[bytes, list[tuple[int, int]]] = {}
    after = count = 0
    for _ in range(_PAGES_MAX):
        try:
            page = transport.pull(after, generation=generation)
        except CompactedError as error:
            if error.min_pos - 1 <= after:
                break
            after = error.min_pos - 1
            continue
        except GenerationChangedError:
            break  # it has lost everything, and the next step says so
        if not page.frames or page.frames[-1][0] <= after:
            break
        after = page.frames[-1][0]
        count += len(page.frames)
        _note(page, members, there)
        yield Progress("Reading what is there", count)
    covered = _covered(transport, members)
    wanted = list(expected.own.items())
    wanted += [(stream, Range(1, seq)) for stream, (seq, _) in expected.heads.items()]
    return [
        Loss(flaw="gone", stream=stream, batches=each)
        for stream, of in wanted
        for each in folder_shelf.gaps(
            there.get(stream, []), Range(max(of.first, covered.get(stream, 0) + 1), of.last)
        )
    ]


def _note(page: Page, members: Members, there: dict[bytes, list[tuple[int, int]]]) -> None:
    for _, raw in page.frames:
        try:
            frame = frames.parse(raw)
        except MalformedError:
            continue
        if relay.authenticate(members, frame) is not None:
            continue
        stream, seq = frame.header.stream, frame.header.seq
        spans = there.setdefault(stream, [])
        if spans and spans[-1][1] + 1 == seq:
            spans[-1] = (spans[-1][0], seq)
        else:
            spans.append((seq, seq))


def _covered(transport: Transport, members: Members) -> dict[bytes, int]:
    """What batches were deleted for, or may be: snapshots hold it."""
    reached: dict[bytes, int] = {}
    for raw in transport.manifests():
        try:
            manifest = snapshots.of_a_device(raw, members)
        except (CorruptError, ForbiddenError):
            continue
        for head in manifest.covers:
            reached[head.stream] = max(head.seq, reached.get(head.stream, 0))
    return reached


def _lost_snapshot(
    transport: Transport, replica: Replica, members: Members
) -> Generator[Progress, None, list[Loss]]:
    """Whether the newest snapshot is whole, opens, and holds what it says."""
    with replica.transaction() as db:
        epoch_keys = log.epoch_keys(db)
    for raw in snapshots.without_removed(transport.manifests(), members)[:1]:
        yield Progress("Reading the snapshot", 0)
        total = count = 0
        try:
            manifest = snapshots.believed(raw, members)
            for memory, state in segments.states(transport, manifest, epoch_keys):
                total += merge.fingerprint(memory, state)
                count += 1
                if count % _STATES_AT_ONCE == 0:
                    yield Progress("Reading the snapshot", count)
            summary = segments.open_summary(manifest, epoch_keys)
        except NoSegmentError:
            return [Loss(flaw="gone")]
        except (CorruptError, ForbiddenError):
            return [Loss(flaw="altered")]
        if merge.digest(total) != summary.digest:
            return [Loss(flaw="altered")]
    return []
