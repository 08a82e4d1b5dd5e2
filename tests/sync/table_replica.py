"""The simplest replica there can be, over a real SQLite file: whole states in one table, and a crash wherever a test wants one."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from sync_service.changes import merge
from sync_service.changes.fields import Field
from sync_service.changes.merge import EMPTY, State
from sync_service.changes.ops import Forget, Op
from sync_service.device import log
from sync_service.device.replica import Change, Unrecorded, change
from sync_service.device.schema import DIGESTS, LOSSES, SCHEMA

_TABLES = """
    CREATE TABLE states (memory BLOB PRIMARY KEY, state BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE earlier (memory BLOB PRIMARY KEY, text BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""


class Crash(BaseException):
    """The power fails here."""


class TableReplica:
    def __init__(self, path: Path | str = ":memory:") -> None:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # A crash in a test takes the process, not the disk.
        connection.execute("PRAGMA synchronous = OFF")
        self.db = Database(connection, execute_plugins=False)
        self.at_commit: Callable[[], None] = lambda: None
        """May raise `Crash`: then the transaction has not happened."""
        if not self.db.execute("SELECT 1 FROM sqlite_master").fetchone():
            self.db.conn.executescript(SCHEMA + LOSSES + DIGESTS + _TABLES)

    def close(self) -> None:
        self.db.conn.close()

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
            self.at_commit()
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def load(self, db: Database, memories: Collection[bytes]) -> dict[bytes, State]:
        found: dict[bytes, State] = {}
        for memory in memories:
            row = db.execute("SELECT state FROM states WHERE memory = ?", [memory]).fetchone()
            found[memory] = merge.decode(row[0]) if row else EMPTY
        return found

    def save(self, db: Database, changes: Mapping[bytes, Change]) -> None:
        db.conn.executemany(
            "INSERT OR REPLACE INTO states (memory, state) VALUES (?, ?)",
            [(memory, merge.encode(change.after)) for memory, change in changes.items()],
        )
        for memory in changes:
            db.execute("DELETE FROM earlier WHERE memory = ?", [memory])

    def count(self, db: Database) -> int:
        forgotten = merge.encode(merge.FORGOTTEN)
        (count,) = db.execute(
            "SELECT count(*) FROM states WHERE state <> ?", [forgotten]
        ).fetchone()
        return int(count)

    def unrecorded(self, db: Database, most: int) -> Sequence[Unrecorded]:
        found = db.execute("SELECT memory, text FROM earlier ORDER BY memory LIMIT ?", [most])
        return [
            Unrecorded(memory=bytes(memory), fields={Field.TEXT: bytes(text)})
            for memory, text in found
        ]

    def rows(self, db: Database, after: bytes | None, most: int) -> list[tuple[bytes, State]]:
        found = db.execute(
            "SELECT memory, state FROM states WHERE ? IS NULL OR memory < ? ORDER BY memory DESC LIMIT ?",
            [after, after, most],
        )
        return [(bytes(memory), merge.decode(bytes(state))) for memory, state in found]

    # --- what a person does ------------------------------------------------------------------------------

    def store_before_sync(self, memory: bytes, text: bytes) -> None:
        self.db.execute("INSERT INTO earlier (memory, text) VALUES (?, ?)", [memory, text])

    def write(
        self,
        memory: bytes,
        now_ms: int,
        *,
        fields: dict[int, bytes] | None = None,
        tags: Collection[str] | None = None,
        links: Collection[tuple[str, bytes]] | None = None,
    ) -> None:
        with self.transaction() as db:
            before = self.load(db, [memory])[memory]
            if before.forgotten:
                return
            hlc = log.stamp(db, now_ms)
            ops = merge.edit(before, memory, hlc, fields=fields, tags=tags, links=links)
            self._do(db, memory, before, ops)

    def forget(self, memory: bytes, now_ms: int) -> None:
        with self.transaction() as db:
            before = self.load(db, [memory])[memory]
            if not before.forgotten:
                self._do(db, memory, before, [Forget(memory, log.stamp(db, now_ms))])

    def _do(self, db: Database, memory: bytes, before: State, ops: Sequence[Op]) -> None:
        after = before
        for op in ops:
            after = merge.apply(after, op, log.own_stream(db))
        if after != before:
            changes = {memory: change(before, after)}
            self.save(db, changes)
            log.record(db, ops, changes)

    def states(self) -> dict[bytes, State]:
        return dict(self.rows(self.db, None, -1))
