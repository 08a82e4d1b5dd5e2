"""Where the batches of pushes go: pure. All of a push is placed or nothing, and a position is never left out.

The vault's row is locked while this is decided; what is decided here is stored in the same transaction, or not at all.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from msgspec import Struct

from cloud_api.devices.names import DeviceId
from cloud_api.sync import rules
from cloud_api.sync.refusals import (
    DeviceRevokedError,
    NotEntitledError,
    VaultFullError,
    error_of,
)
from cloud_api.sync.rules import No, Yes
from cloud_api.sync.store import NewBatch, StoredBatch, VaultRow
from sync_service.members.control import Members
from sync_service.relay import Admitted, Duplicate, StreamHead, is_active, place
from sync_service.sealed.frames import Frame


class Placed(Struct, frozen=True):
    stream: bytes
    seq: int
    pos: int


class Pushed(Struct, frozen=True):
    generation: UUID
    head_pos: int
    placed: list[Placed]


class Standing(Struct, frozen=True):
    """How a vault stands before any of them."""

    row: VaultRow
    members: Members
    heads: dict[bytes, StreamHead]
    stored: Sequence[StoredBatch]
    """What is there already of what was sent."""
    verdict: Yes | No


class Places:
    """Of one transaction: pushes take theirs one after another, and see what went before."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._heads = standing.heads
        self._stored = {(each.stream_id, each.seq): each for each in standing.stored}
        self.new: list[NewBatch] = []

    def take(self, device: DeviceId, frames: Iterable[Frame]) -> Pushed:
        """
        Raises:
            BatchForkError and its relatives: the first batch that has no place says why; none of this push has.
            NotEntitledError, VaultFullError, DeviceRevokedError
        """
        standing = self._standing
        if not is_active(standing.members, device.bytes):
            raise DeviceRevokedError
        heads, stored, new = dict(self._heads), dict(self._stored), list(self.new)
        placed: list[Placed] = []
        for frame in frames:
            stream, seq = frame.header.stream, frame.header.seq
            there = stored.get((stream, seq))
            known = None if there is None else there.hash
            verdict = place(standing.members, frame, heads.get(stream), stored=known)
            match verdict:
                case Admitted(head):
                    pos = standing.row.head_pos + len(new) + 1
                    heads[stream] = head
                    stored[stream, seq] = StoredBatch(stream, seq, frame.hash, pos)
                    new.append(NewBatch(pos, stream, seq, frame.hash, frame.raw))
                    placed.append(Placed(stream, seq, pos))
                case Duplicate():
                    # What is compacted away has no position any more.
                    placed.append(Placed(stream, seq, 0 if there is None else there.pos))
                case _:
                    raise error_of(verdict, stream=stream)
        if len(new) > len(self.new):
            demand_entitlement(standing.verdict)
            demand_room(standing.row, sum(len(batch.frame) for batch in new))
        self._heads, self._stored, self.new = heads, stored, new
        head_pos = standing.row.head_pos + len(new)
        return Pushed(standing.row.generation, head_pos, placed)


def demand_entitlement(verdict: Yes | No) -> None:
    """
    Raises:
        NotEntitledError
    """
    if isinstance(verdict, No):
        raise NotEntitledError(rules.SENTENCES[verdict.reason], reason=verdict.reason)


def demand_room(row: VaultRow, more: int) -> None:
    """
    Raises:
        VaultFullError
    """
    if row.used_bytes + more > row.quota_bytes:
        raise VaultFullError(
            "This vault has no more room here. Nothing was stored, and your devices keep everything; a snapshot makes room.",
            quota_bytes=row.quota_bytes,
            used_bytes=row.used_bytes,
        )
