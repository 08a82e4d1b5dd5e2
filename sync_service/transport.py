"""What carries sealed batches between devices, as the engine sees it, and what can go wrong on the way, each by its own name.

A transport is never trusted: everything it hands over is checked by whoever takes it. It is synchronous, called from a worker's thread.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    QuotaExceededError,
    UnavailableError,
)

# What databases count up to.
POSITION_MAX = (1 << 63) - 1


class Page(Struct, frozen=True, kw_only=True):
    """Some batches in the order of the relay's log."""

    generation: str
    frames: tuple[tuple[int, bytes], ...]
    """(position, bytes as received)."""
    head_pos: int
    min_pos: int
    """The first position that is still there."""


class Pushed(Struct, frozen=True, kw_only=True):
    generation: str
    placed: tuple[tuple[int, int], ...]
    """(seq, position) of every batch that is there now, also of one that was there before."""
    head_pos: int


class Standing(Struct, frozen=True, kw_only=True):
    generation: str
    head_pos: int
    min_pos: int
    control_seq: int
    """The last entry of the device list that the relay has."""
    may_push: bool
    reason: str | None = None
    """Why not, for the person."""
    quota_bytes: int | None = None
    used_bytes: int = 0
    server_time_ms: int | None = None


class ForkError(ConflictError):
    """There is another batch at this place of the stream."""

    code = "fork"

    def __init__(self, stream: bytes, seq: int) -> None:
        super().__init__("Another copy of this device has sent something else at the same place.")
        self.stream = stream
        self.seq = seq


class SeqGapError(ConflictError):
    """The relay expects another batch of this stream first."""

    code = "gap"

    def __init__(self, stream: bytes, expected: int) -> None:
        super().__init__("The server does not have what came before this. It is sent again.")
        self.stream = stream
        self.expected = expected


class ControlConflictError(ConflictError):
    """Somebody was faster with the next entry of the device list: read it, then decide again."""

    code = "control_conflict"


class GenerationChangedError(ConflictError):
    """The relay began anew; positions from before mean nothing."""

    code = "generation_changed"

    def __init__(self, generation: str) -> None:
        super().__init__("The server began anew. What it lost is sent again.")
        self.generation = generation


class CompactedError(ConflictError):
    """What was asked for is now in a snapshot only."""

    code = "compacted"

    def __init__(self, min_pos: int) -> None:
        super().__init__(
            "What happened so long ago is in a snapshot only, which is fetched instead."
        )
        self.min_pos = min_pos


class NotEntitledError(ForbiddenError):
    """The relay takes nothing new from this account; everything can still be fetched."""

    code = "not_entitled"


class QuotaError(QuotaExceededError):
    code = "quota"


class RevokedError(ForbiddenError):
    """This device was removed from the vault."""

    code = "revoked"


class RefusedError(InvalidError):
    """The relay does not take this batch or entry, whatever is tried again."""

    code = "refused"


class NoVaultError(NotFoundError):
    """The relay knows nothing of this vault (any more)."""

    code = "no_vault"


class VaultDeletedError(NotFoundError):
    """The vault's owner deleted it there. That is no loss: nothing is given back before a person says so."""

    code = "vault_deleted"
    # A person ends it, perhaps at another device: to look for that once in a while is enough.
    after_seconds = 3_600.0


class NoSegmentError(NotFoundError):
    code = "no_segment"


class TooLargeError(InvalidError):
    """More at once than the relay takes."""

    code = "too_large"


class UnreadableAnswerError(CorruptError):
    """What came back is no answer that a relay gives."""

    code = "unreadable_answer"


class BusyError(UnavailableError):
    """Not now. Try again after so many seconds."""

    code = "busy"

    def __init__(self, sentence: str, *, after_seconds: float = 0.0) -> None:
        super().__init__(sentence)
        self.after_seconds = after_seconds


class Reached(Struct, frozen=True):
    """What a device has seen of a vault."""

    generation: str | None
    control_seq: int
    head_pos: int


Flaw = Literal["gone", "empty", "cut", "altered", "unreadable"]
"""What is wrong where something should be: nothing is there; a file without content; a part of one; other bytes than were written; a
file that cannot be opened."""


class Range(Struct, frozen=True):
    """Batches of a stream, from one to another."""

    first: int
    last: int


class Known(Struct, frozen=True, kw_only=True):
    """What a device knows to have been at the relay."""

    own: Mapping[bytes, Range]
    """Batches that it keeps, by stream."""
    heads: Mapping[bytes, tuple[int, bytes]]
    """The last batch of each other stream: its number and its hash."""
    snapshots: Sequence[bytes]
    """Ids, the newest first."""
    doubted: frozenset[bytes] = frozenset()
    """Streams of which something was lost when they were last looked at."""


class Loss(Struct, frozen=True, kw_only=True):
    """Something that is not there, or not as it was."""

    flaw: Flaw
    stream: bytes | None = None
    """None if it is a snapshot."""
    batches: Range | None = None
    is_new: bool = False
    """It was never here: it is on its way, and has been for too long."""


class Transport(Protocol):
    """One vault at one relay. Everything may raise `UnavailableError`, `RevokedError`, `NoVaultError` and `VaultDeletedError`."""

    def standing(self) -> Standing: ...

    def push(self, frames: Sequence[bytes]) -> Pushed:
        """Batches of one stream, in order. All or nothing.

        Raises:
            ForkError, SeqGapError, NotEntitledError, QuotaError, RefusedError, TooLargeError
        """
        ...

    def pull(self, after: int, *, generation: str | None) -> Page:
        """What follows a position; empty at the end.

        Raises:
            CompactedError, GenerationChangedError
        """
        ...

    def control(self, after_seq: int) -> list[bytes]:
        """Entries of the device list, in order; some of them if they are many. Empty at the end, and when there is no vault."""
        ...

    def append_control(self, entry: bytes) -> None:
        """The next entry of the device list; the first one makes the vault. The same entry again is no error.

        Raises:
            ControlConflictError, RefusedError
        """
        ...

    def put_back(self) -> None:
        """A person wants the vault to be there again, where it was deleted: from now on the first entry of its list makes it."""
        ...

    def put_segment(self, name: str, sealed: bytes) -> None: ...

    def segment(self, name: str) -> bytes:
        """
        Raises:
            NoSegmentError
        """
        ...

    def put_manifest(self, manifest: bytes) -> None: ...

    def manifests(self) -> list[bytes]:
        """Those of complete snapshots, the newest first."""
        ...

    def cosign(self, manifest: bytes, signature: bytes) -> None:
        """Say that this device holds the same as the snapshot whose manifest has this hash."""
        ...

    def cosignatures(self, manifest: bytes) -> list[bytes]:
        """What other devices signed of the snapshot with this id; whose each is, nobody says."""
        ...

    def lost(self, known: Known, *, now_ms: int, thoroughly: bool) -> list[Loss] | None:
        """What was there and is not any more, as far as that shows without reading everything; `thoroughly`: everything is read, and
        what may just be on its way is named, too. `None` of a relay that has a log: what it has lost shows in how that stands, or by
        reading it."""
        ...

    def put_vector_list(self, raw: bytes) -> None:
        """Say which segments hold vectors; a list that this device gave before counts no more."""
        ...

    def vector_lists(self) -> list[bytes]:
        """The newest first where that can be told. None at a relay that knows no such lists."""
        ...

    def wait(self, reached: Reached, *, seconds: float) -> bool:
        """Whether there is more than was reached, as soon as there is or when the time is over."""
        ...


class Mailboxes(Protocol):
    """Small messages between two devices that are about to be paired."""

    def put(self, name: bytes, slot: str, message: bytes) -> None: ...

    def take(self, name: bytes, slot: str) -> bytes | None: ...

    def clear(self, name: bytes) -> None:
        """Nobody needs these messages any more. Where they go by themselves, nothing need be done."""
        ...
