"""Two devices that have seen the same have to hold the same: what others said of themselves, compared once this device has come there.

Where devices are is what they have applied of every stream. A digest that differs at the same place is a defect, or a snapshot that held
something else than was said; nothing is changed because of it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from sync_service.changes.ops import Head
from sync_service.device import inbox, log
from sync_service.device.replica import Replica

if TYPE_CHECKING:
    from sqlite_utils import Database

_HEADS = msgspec.msgpack.Decoder(list[tuple[bytes, int]])
_DIVERGED = (
    "This device and another one have seen the same changes and do not hold the same memories. Nothing is lost; run "
    "`sunaiva sync verify` and report this."
)


def note(db: "Database", teller: bytes, heads: Iterable[Head], digest: bytes) -> None:
    """A device holds this, having applied up to these heads, its own stream's among them."""
    place = sorted((head.stream, head.seq) for head in heads)
    db.execute(
        """INSERT INTO sync_digests (teller, heads, digest) VALUES (?, ?, ?)
           ON CONFLICT (teller) DO UPDATE SET heads = excluded.heads, digest = excluded.digest""",
        [teller, msgspec.msgpack.encode(place), digest],
    )


def forget(db: "Database", teller: bytes) -> None:
    """A device was removed: what it said of itself binds nobody."""
    db.execute("DELETE FROM sync_digests WHERE teller = ?", [teller])


def compare(db: "Database", replica: Replica, now_ms: int) -> None:
    """The relay's log was read to its end: is what is here what the others have, as far as they were here?"""
    me = log.read(db)
    has_earlier = me.seeding and replica.unrecorded(db, 1)
    if me.adopting or has_earlier or inbox.is_half_applied(db) or log.outbox_count(db):
        return
    place = {stream: head.seq for stream, head in inbox.heads(db).items()}
    if me.seq:
        place[me.stream] = me.seq
    found = db.execute("SELECT teller, heads, digest FROM sync_digests ORDER BY teller").fetchall()
    for teller, heads, digest in found:
        if dict(_HEADS.decode(bytes(heads))) != place:
            continue
        # Once: a snapshot that comes later may hold more than is in batches yet.
        db.execute("DELETE FROM sync_digests WHERE teller = ?", [teller])
        if bytes(digest) == log.digest(db):
            log.settle(db, "diverged", bytes(teller).hex())
        else:
            log.raise_alarm(db, "diverged", bytes(teller).hex(), _DIVERGED, now_ms)
