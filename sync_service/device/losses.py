"""What was at the relay and is not any more, or not as it was: said in plain words, and given back by whoever has it.

A device keeps the batches that it wrote, and gives those back at once, the same bytes. What others wrote only they have as they wrote it:
that is waited for and said, and if it takes them long, a snapshot carries it. Nothing here touches a memory.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from shared.clock import to_ms
from sync_service.alarms import Kind
from sync_service.device import inbox, log
from sync_service.device.replica import Replica
from sync_service.transport import Flaw, Known, Loss, Range, Transport

if TYPE_CHECKING:
    from sqlite_utils import Database

# What was made good stays to be read for a while: who finds it again and again knows that something is at work there.
TOLD_MS = 3_600_000
# A device that is in use gives its own back before; then a snapshot is written.
WAITED_MS = 3_600_000
# Older snapshots than the last ones stand in for nothing.
_SNAPSHOTS_KNOWN = 64
_SNAPSHOT = "snapshot"
_KINDS: tuple[Kind, ...] = ("missing", "damaged", "incomplete")
_KIND_OF: dict[Flaw, Kind] = {
    "gone": "missing",
    "empty": "incomplete",
    "cut": "damaged",
    "altered": "damaged",
    "unreadable": "incomplete",
}


def notice(transport: Transport, replica: Replica, now_ms: int) -> None:
    """What shows without reading everything; what is wrong only for the moment is left alone."""
    with replica.transaction() as db:
        expected = known(db)
    lost = transport.lost(expected, now_ms=now_ms, thoroughly=False)
    if lost is None:
        return
    with replica.transaction() as db:
        tell(db, lost, now_ms)


def known(db: "Database") -> Known:
    """What this device has been shown by the relay, or has given it."""
    heads, served = inbox.heads(db), inbox.served_heads(db)
    own = {stream: Range(first, last) for stream, (first, last) in log.taken(db).items()}
    found = db.execute(
        "SELECT manifest FROM sync_snapshots WHERE standing <> 'refused' ORDER BY made_ms DESC LIMIT ?",
        [_SNAPSHOTS_KNOWN],
    )
    return Known(
        own=own,
        heads={
            stream: (head.seq, head.hash)
            for stream, head in heads.items()
            if served.get(stream, 0) >= head.seq and stream not in own
        },
        snapshots=[bytes(manifest) for (manifest,) in found],
        doubted=frozenset(
            bytes.fromhex(alarm.subject)
            for alarm in log.alarms(db)
            if alarm.kind in _KINDS and alarm.subject != _SNAPSHOT
        ),
    )


def tell(
    db: "Database",
    lost: Sequence[Loss],
    now_ms: int,
    *,
    has_read_all: bool = False,
    has_log: bool = False,
) -> None:
    """Raise an alarm for each stream of which something is lost, have own batches sent again, and settle what is over. A relay with a
    log may believe that it has what it lost: what it does not show again then, is left to a snapshot."""
    own = log.taken(db)
    named: set[tuple[Kind, str]] = set()
    for loss in lost:
        is_own = loss.stream in own
        kind: Kind = "incomplete" if loss.is_new else _KIND_OF[loss.flaw]
        subject = _SNAPSHOT if loss.stream is None else loss.stream.hex()
        if (kind, subject) not in named:
            said = sentence(loss, is_own=is_own, has_log=has_log)
            log.raise_alarm(db, kind, subject, said, now_ms)
        named.add((kind, subject))
        if loss.stream is None or (has_log and not is_own):
            log.write(db, snapshot_owed=1)
        elif is_own and loss.batches is not None and not loss.is_new:
            first, last = loss.batches.first, loss.batches.last
            if has_log:
                log.not_shown(db, loss.stream, from_seq=first, to_seq=last)
            else:
                log.resend(db, loss.stream, from_seq=first, to_seq=last)
    _settle(db, named, now_ms, has_read_all=has_read_all)


def sentence(loss: Loss, *, is_own: bool, has_log: bool = False) -> str:
    if loss.stream is None:
        return f"A snapshot {_OF_SNAPSHOT[loss.flaw]}. {_ANEW}"
    if loss.is_new:
        return f"{_LATE[loss.flaw]} {_CARRIER}"
    what = _OF_OWN if is_own else _OF_OTHERS
    done = _GIVEN if is_own else _ASKED if has_log else _WAITED
    return f"{what[loss.flaw]} {done}"


def _settle(
    db: "Database", named: Iterable[tuple[Kind, str]], now_ms: int, *, has_read_all: bool
) -> None:
    taken = {stream.hex() for stream in log.taken(db)}
    for alarm in log.alarms(db):
        if alarm.kind not in _KINDS:
            continue
        if (alarm.kind, alarm.subject) in named:
            if alarm.subject not in taken and to_ms(alarm.first_at) + WAITED_MS <= now_ms:
                log.write(db, snapshot_owed=1)
        elif has_read_all or not 0 <= now_ms - to_ms(alarm.last_at) < TOLD_MS:
            log.settle(db, alarm.kind, alarm.subject)
        else:
            log.reword(db, alarm.kind, alarm.subject, _MADE_GOOD)


_OF_OWN: dict[Flaw, str] = {
    "gone": "What this device had sent was deleted where your devices meet.",
    "empty": "A file of this device is empty where your devices meet: what carries the folder has not fetched it, or lost it.",
    "cut": "A file of this device was cut off where your devices meet.",
    "altered": "What this device had sent was altered or damaged where your devices meet.",
    "unreadable": "A file of this device cannot be opened where your devices meet.",
}
_OF_OTHERS: dict[Flaw, str] = {
    "gone": "What another device had sent was deleted where your devices meet.",
    "empty": "A file of another device is empty where your devices meet: what carries the folder has not fetched it, or lost it.",
    "cut": "A file of another device was cut off where your devices meet.",
    "altered": "What another device had sent was altered or damaged where your devices meet.",
    "unreadable": "A file of another device cannot be opened where your devices meet.",
}
_OF_SNAPSHOT: dict[Flaw, str] = {
    "gone": "was deleted, or a piece of it",
    "empty": "has an empty piece, which was not fetched yet, or was lost",
    "cut": "has a piece that was cut off",
    "altered": "has a piece that was altered or damaged",
    "unreadable": "has a piece that cannot be opened",
}
_LATE: dict[Flaw, str] = {
    "gone": "Something new of another device is not there.",
    "empty": "A new file of another device has been empty for long: what carries the folder has not fetched it.",
    "cut": "A new file of another device has been only half there for long.",
    "altered": "A new file of another device is not as that device wrote it.",
    "unreadable": "A new file of another device cannot be opened.",
}
_GIVEN = "This device has it all, and gives it back by itself."
_WAITED = (
    "Here nothing is missing. The device that wrote it gives it back as soon as it syncs; if that takes long, a snapshot does for a "
    "device that joins."
)
_ASKED = (
    "Here nothing is missing. Run `sunaiva sync verify` on your other devices, too: the one that wrote it sends it again; else a "
    "snapshot brings it to a device that joins."
)
_ANEW = "Nothing is missing by that: a new one is written within a day."
_CARRIER = "It is waited for; look whether the program that carries the folder is at work."
_MADE_GOOD = (
    "Something was missing or damaged where your devices meet. It is all there again. If this comes back, look what deletes or alters "
    "files there."
)
