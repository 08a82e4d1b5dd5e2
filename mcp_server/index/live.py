"""The indexes of an open vault, kept in step with it: words, catalogue, vectors, embedder, and the thread that fills them.

Everything here is a projection of the encrypted rows and can be thrown away. The keyword index answers at once; the others
load in the background, and `IndexState` says so. A memory stored without a vector is
embedded here, oldest first, whenever the thread has nothing newer to do.
"""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server import cues
from mcp_server.index import codes
from mcp_server.index.catalogue import Catalogue, Entry
from mcp_server.index.embedder import Embedder
from mcp_server.index.lexical import LexicalIndex, terms_of
from mcp_server.index.neighbours import GraphOnDisk, Neighbours
from mcp_server.index.words import HEAD_CHARS
from mcp_server.model import Memory
from mcp_server.vault import store, texts
from mcp_server.vault.db import OpenVault
from shared.clock import to_ms
from shared.errors import CorruptError, SunaivaError

if TYPE_CHECKING:
    from sqlite_utils import Database

_log = logging.getLogger(__name__)

# One batch is one transaction and holds the write lock for some 150 ms of embedding; a `remember` meanwhile waits no longer.
_EMBED_BATCH = 32
_LOAD_BATCH = 20_000
_CUES_BATCH = 500  # some 50 ms, for the same reason
# A full disk or a busy vault: embedding is tried again after this, or as soon as something new is stored.
_RETRY_SECONDS = 60.0
# Up to so many memories are embedded before they are stored, so that they are found by meaning at once.
EMBED_AT_ONCE_MAX = 4


class IndexState(Struct, frozen=True):
    listed: bool
    """The catalogue is complete: filters, neighbours and conversations are known."""
    meaning: bool
    """Questions are searched by meaning, too."""
    waiting: int
    """Memories without a vector yet."""
    trouble: str | None
    """Why search by meaning is not coming, if it is not."""
    unread: int = 0
    """Memories that are not found by their words yet: those of an older vault, until its keyword index is made."""


class LiveIndex:
    """Owns the indexes and their thread."""

    def __init__(
        self,
        vault: OpenVault,
        open_embedder: Callable[[], Embedder],
        graph: GraphOnDisk,
        *,
        graph_from: int | None,
    ) -> None:
        self.lexical = LexicalIndex()
        self.catalogue = Catalogue()
        self.vectors: Neighbours | None = None
        self.embedder: Embedder | None = None
        self._vault = vault
        self._open_embedder = open_embedder
        self._graph = graph
        self._graph_from = graph_from
        self._changing = threading.RLock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._listed = False
        self._waiting = 0
        self._trouble: str | None = None
        self._model = 0
        self._embedded_below = 0  # every row up to this one has its vector or is gone
        self._unread = True  # some memories' cues may not have been read
        self._rounds = 0  # how often everything was begun anew
        # What changes while an index loads is read once more at the end.
        self._loading = True
        self._touched: set[int] = set()
        self._thread = threading.Thread(target=self._fill, name="index", daemon=True)

    def start(self) -> None:
        try:
            with self._vault.reading() as db:
                self.lexical.load(db)
        except (
            CorruptError
        ) as error:  # a damaged vault is opened, so that `doctor` can say what is wrong
            self._give_up(str(error))
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self.vectors is not None:
            self.vectors.close()

    def state(self) -> IndexState:
        return IndexState(
            self._listed,
            self.vectors is not None,
            self._waiting,
            self._trouble,
            len(self.lexical.waiting),
        )

    def changing(self) -> contextlib.AbstractContextManager[object]:
        """Hold this around a vault transaction and the calls below that follow it, so the two never part."""
        return self._changing

    def put(self, row: int, memory: Memory) -> None:
        self.lexical.put(row, terms_of(memory))
        if self.lexical.due:
            self._wake.set()
        self._touch([row])
        if self._listed:
            self.catalogue.put(entry_of(row, memory))

    def remove(self, rows: Sequence[int]) -> None:
        """Forget these rows; their vectors are overwritten."""
        self.lexical.drop(rows)
        self._touch(rows)
        if self._listed:
            for row in rows:
                self.catalogue.remove(row)
        if self.vectors is not None:
            self.vectors.remove(np.asarray(rows, dtype=np.int64))
        else:
            self._graph.drop()  # an earlier run may have left their vectors there

    def left_on_disk(self, rows: Sequence[int]) -> bool:
        """Whether a vector of any of these rows may be on the disk outside of the vault."""
        if self.vectors is None:
            return self._graph.folder.exists()
        return self.vectors.left_on_disk(np.asarray(rows, dtype=np.int64))

    def store_vectors(
        self, db: "Database", rows: Sequence[int], vectors: NDArray[np.float32]
    ) -> Callable[[], None]:
        """Write vectors into the vault, inside the caller's transaction and `changing`; what it returns is to be called once
        that is committed, and takes them into the index."""
        code = codes.pack4(vectors)
        db.conn.executemany(
            "INSERT OR REPLACE INTO vectors (memory, model, code) VALUES (?, ?, ?)",
            [(row, self._model, one.tobytes()) for row, one in zip(rows, code, strict=True)],
        )

        def follow() -> None:
            self._touch(rows)
            if self.vectors is not None:
                self.vectors.add(np.asarray(rows, dtype=np.int64), code)

        return follow

    def has_more_to_embed(self, number: int) -> None:
        self._waiting += number
        self._wake.set()

    def tidy_words(self) -> bool:
        """Bring the keyword index forward by one piece; whether there was any to do."""
        return self.lexical.tidy(self._vault, self._changing)

    def start_over(self) -> None:
        """Read and embed everything again: the keyword index and the vectors in the vault are gone."""
        with self._vault.reading() as db:
            self.lexical.load(db)
        if self.embedder is not None:
            former, self.vectors = self.vectors, self._neighbours(self.embedder.dim)
            if former is not None:
                former.close()
        self._embedded_below = 0
        self._unread = True
        self._rounds += 1
        self._waiting = 0
        self.has_more_to_embed(len(self.catalogue))

    def _fill(self) -> None:
        self._load()
        while not self._stop.is_set():
            patience = None
            try:
                if self.tidy_words() or self._read_cues():
                    continue
                if self._trouble is None and self._embed_some():
                    continue
            except SunaivaError as error:
                # Nothing is lost: the texts are there, and what has no vector yet is found by its words.
                _log.warning("the indexes wait: %s", error)
                patience = _RETRY_SECONDS
            except Exception as error:  # noqa: BLE001 (the end of this thread: nobody else would tell the person)
                self._give_up(f"The indexes stopped ({type(error).__name__}). Restart the agent.")
                return
            self._wake.wait(patience)
            self._wake.clear()

    def _load(self) -> None:
        try:
            self._list()
            self._load_vectors()
        except SunaivaError as error:
            self._give_up(str(error))
        except Exception as error:  # noqa: BLE001 (as below; memories are still found by their words)
            self._give_up(f"The language model cannot be used ({type(error).__name__}).")

    def _neighbours(self, dim: int) -> Neighbours:
        if self._graph_from is None:
            return Neighbours(dim, None)
        return Neighbours(dim, self._graph, graph_from=self._graph_from)

    def _touch(self, rows: Iterable[int]) -> None:
        if self._loading:
            self._touched.update(rows)

    def _give_up(self, why: str) -> None:
        self._loading = False
        self._trouble = why
        _log.warning("search by meaning is off: %s", why)

    def _list(self) -> None:
        """Load the catalogue, some at a time: nobody who stores a memory waits for all of it."""
        last, whole = 0, True
        while whole and not self._stop.is_set():
            with self._vault.reading() as db:
                batch = store.scan(db, after_row=last, limit=_LOAD_BATCH)
            self.catalogue.load(batch)
            last = batch[-1][0] if batch else last
            whole = len(batch) == _LOAD_BATCH
        with self._changing, self._vault.reading() as db:
            self.catalogue.load(store.scan(db, after_row=last, limit=_LOAD_BATCH))
            self.catalogue.join()
            self._read_again(db)
            self._listed = True

    def _read_again(self, db: "Database") -> None:
        """What was changed or forgotten after the catalogue had read it."""
        there = {fields[0]: Entry(*fields) for fields in store.scan_rows(db, self._touched)}
        for row in self._touched:
            if row in there:
                self.catalogue.put(there[row])
            else:
                self.catalogue.remove(row)
        self._touched.clear()

    def _load_vectors(self) -> None:
        embedder = self._open_embedder()
        with self._changing, self._vault.writing() as db:
            db.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", [embedder.model_id])
            (self._model,) = db.execute(
                "SELECT number FROM models WHERE name = ?", [embedder.model_id]
            ).fetchone()
            self._touched.clear()
            this_round = self._rounds
        vectors = self._neighbours(embedder.dim)
        last = self._load_some(vectors, after=0)
        with self._changing:
            if self._rounds != this_round:  # what was read until now is no longer in the vault
                vectors, last = self._neighbours(embedder.dim), 0
            last = self._load_some(vectors, after=last)
            self._read_vectors_again(vectors)
            live = np.flatnonzero(self.catalogue.columns["live"])
            waiting = live[~vectors.has(live)]
            self._waiting = len(waiting)
            self._embedded_below = int(waiting[0]) - 1 if len(waiting) else last
            self.embedder, self.vectors = embedder, vectors
            self._loading = False

    def _load_some(self, vectors: Neighbours, *, after: int) -> int:
        """Take in all vectors after a row, some at a time; the last row."""
        whole = True
        while whole and not self._stop.is_set():
            with self._vault.reading() as db:
                batch = db.execute(
                    "SELECT memory, code FROM vectors WHERE memory > ? AND model = ? ORDER BY memory LIMIT ?",
                    [after, self._model, _LOAD_BATCH],
                ).fetchall()
            _take_in(vectors, batch)
            after = batch[-1][0] if batch else after
            whole = len(batch) == _LOAD_BATCH
        return after

    def _read_vectors_again(self, vectors: Neighbours) -> None:
        """Those that were written or forgotten after they had been read."""
        changed = sorted(self._touched)
        with self._vault.reading() as db:
            batch = db.execute(
                "SELECT memory, code FROM vectors WHERE memory IN (SELECT value FROM json_each(?)) AND model = ?",
                [json.dumps(changed), self._model],
            ).fetchall()
        gone = np.array(sorted(set(changed) - {row for row, _ in batch}), np.int64)
        gone = gone[vectors.has(gone)]
        if len(gone):
            vectors.remove(gone)
        _take_in(vectors, batch)
        self._touched.clear()

    def _read_cues(self) -> bool:
        """Read the cues of one batch of memories from before there were any; whether there was one."""
        if not self._unread:
            return False
        with self._changing:
            with self._vault.writing() as db:
                read = store.read_cues(db, limit=_CUES_BATCH)
            for row, flags in read:
                self.catalogue.columns["flags"][row] = flags
            self._unread = bool(read)
        return self._unread

    def _embed_some(self) -> bool:
        """Embed one batch of what waits; whether there was any."""
        assert self.embedder is not None
        with (
            self._changing,
            self._vault.reading() as db,
        ):  # so that nothing is stored unseen meanwhile
            this_round = self._rounds
            speakers = dict(
                db.execute(
                    """SELECT row, speaker FROM memories WHERE row > ? AND NOT EXISTS
                           (SELECT 1 FROM vectors WHERE memory = row AND model = ?) ORDER BY row LIMIT ?""",
                    [self._embedded_below, self._model, _EMBED_BATCH],
                ).fetchall()
            )
            said = texts.of(db, speakers)
            waiting = [(row, memory_text(said[row], speaker)) for row, speaker in speakers.items()]
            if not waiting:
                self._waiting = 0
                self._embedded_below = store.newest_row(db)
        if not waiting:
            if self.vectors is not None:
                self.vectors.settle()
            return False
        vectors = self.embedder.embed([text for _, text in waiting])
        with self._changing:
            with self._vault.writing() as db:
                # Some may have been forgotten while the model was thinking.
                alive = set(store.by_rows(db, [row for row, _ in waiting]))
                kept = [number for number, (row, _) in enumerate(waiting) if row in alive]
                follow = self.store_vectors(
                    db, [waiting[number][0] for number in kept], vectors[kept]
                )
            follow()
            if self._rounds == this_round:
                self._embedded_below = waiting[-1][0]
                self._waiting = max(0, self._waiting - len(waiting))
        return True


def _take_in(vectors: Neighbours, batch: Sequence[tuple[int, bytes]]) -> None:
    if batch:
        code = np.frombuffer(b"".join(code for _, code in batch), np.uint8)
        rows = np.fromiter((row for row, _ in batch), np.int64, len(batch))
        vectors.add(rows, code.reshape(len(batch), -1))


def memory_text(text: str, speaker: str | None) -> str:
    """What is embedded of a memory: its speaker and its head. A window around it would measure worse."""
    head = text[:HEAD_CHARS]
    return f"{speaker}: {head}" if speaker else head


def entry_of(row: int, memory: Memory) -> Entry:
    when = memory.occurred_at or memory.created_at
    return Entry(
        row=row,
        space=memory.space,
        kind=memory.kind,
        trust=memory.source.trust,
        speaker=memory.speaker,
        conversation=memory.conversation,
        position=memory.position,
        when_ms=to_ms(when),
        valid_from_ms=to_ms(memory.valid_from or when),
        valid_to_ms=None if memory.valid_to is None else to_ms(memory.valid_to),
        hidden=memory.archived or memory.superseded_by is not None,
        chars=len(memory.text),
        question="?" in memory.text,
        pinned=memory.pinned,
        importance=memory.importance,
        flags=cues.flags(memory.text, memory.speaker, memory.source.trust),
    )
