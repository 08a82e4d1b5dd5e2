"""What holds the memories, as the engine sees it: the vault on a device, a plain table in tests."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from sync_service.changes import merge
from sync_service.changes.merge import EMPTY, State

if TYPE_CHECKING:
    from sqlite_utils import Database

Fields = Mapping[int, bytes]


class Change(Struct, frozen=True):
    """A memory's state before and after something; they differ."""

    before: State
    after: State
    clocks: bytes
    """`merge.clocks(after)`: both the digest and the vault need it, and it is not cheap."""
    hlc: int = 0
    """Of the latest operation that led here; 0 if that is not known, as of a snapshot."""


class Unrecorded(Struct, frozen=True, kw_only=True):
    """A memory that was stored before sync was set up."""

    memory: bytes
    fields: Fields
    tags: Sequence[str] = ()
    links: Sequence[tuple[str, bytes]] = ()


class Replica(Protocol):
    def transaction(self) -> "AbstractContextManager[Database]":
        """One transaction of the vault, committed when the block ends and rolled back whole when it raises. Indexes over the
        memories follow at its end."""
        ...

    def load(self, db: "Database", memories: Collection[bytes]) -> dict[bytes, State]:
        """The state of every one of these: `EMPTY` of one that was never heard of, `FORGOTTEN` of a forgotten one."""
        ...

    def save(self, db: "Database", changes: Mapping[bytes, Change]) -> None:
        """Make these states so. A state may lack fields that a memory cannot be shown without (its text is still on the way):
        it is kept all the same, and shown when they are there."""
        ...

    def count(self, db: "Database") -> int:
        """How many memories are present: not forgotten, and shown."""
        ...

    def unrecorded(self, db: "Database", most: int) -> Sequence[Unrecorded]:
        """Some memories that have no state yet because they were stored before sync was set up; empty when there are none."""
        ...

    def rows(self, db: "Database", after: bytes | None, most: int) -> Iterable[tuple[bytes, State]]:
        """All states, forgotten ones too, from the greatest memory id to the least (ids begin with their time, so the newest
        come first); only ids below `after`. At most so many."""
        ...


def change(before: State, after: State, *, hlc: int = 0) -> Change:
    return Change(before, after, merge.clocks(after), hlc)


def is_new(state: State) -> bool:
    return state is EMPTY or state == EMPTY
