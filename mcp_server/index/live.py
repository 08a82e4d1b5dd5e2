"""The indexes of an open vault, kept in step with it: catalogue, vectors, embedder, and the thread that fills them.

Everything here is a projection of the encrypted rows and can be thrown away. It loads in the background; until it is
there, keyword search in the vault's own FTS5 table answers, and `IndexState` says so. A memory stored without a vector is
embedded here, oldest first, whenever the thread has nothing newer to do.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.index import codes
from mcp_server.index.catalogue import Catalogue, Entry
from mcp_server.index.embedder import Embedder
from mcp_server.index.lexical import HEAD_CHARS
from mcp_server.index.neighbours import GraphOnDisk, Neighbours
from mcp_server.model import Memory
from mcp_server.vault import store, texts
from mcp_server.vault.db import OpenVault
from shared.clock import to_ms
from shared.errors import SunaivaError

if TYPE_CHECKING:
    from sqlite_utils import Database

_log = logging.getLogger(__name__)

# One batch is one transaction and holds the write lock for some 150 ms of embedding; a `remember` meanwhile waits no longer.
_EMBED_BATCH = 32
_LOAD_BATCH = 20_000
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
        self._rounds = 0  # how often everything was begun anew
        self._thread = threading.Thread(target=self._fill, name="index", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self.vectors is not None:
            self.vectors.close()

    def state(self) -> IndexState:
        return IndexState(self._listed, self.vectors is not None, self._waiting, self._trouble)

    def changing(self) -> contextlib.AbstractContextManager[object]:
        """Hold this around a vault transaction and the calls below that follow it, so the two never part."""
        return self._changing

    def put(self, row: int, memory: Memory) -> None:
        if self._listed:
            self.catalogue.put(entry_of(row, memory))

    def remove(self, rows: Sequence[int]) -> None:
        """Forget these rows; their vectors are overwritten."""
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
        code, scale = codes.quantise(vectors)
        for row, one, factor in zip(rows, code, scale.tolist(), strict=True):
            db.execute(
                "INSERT OR REPLACE INTO vectors (memory, model, code, scale) VALUES (?, ?, ?, ?)",
                [row, self._model, one.tobytes(), factor],
            )

        def follow() -> None:
            if self.vectors is not None:
                self.vectors.add(np.asarray(rows, dtype=np.int64), code, scale)

        return follow

    def has_more_to_embed(self, number: int) -> None:
        self._waiting += number
        self._wake.set()

    def start_over(self) -> None:
        """Embed everything again: the vectors in the vault are gone."""
        if self.embedder is not None:
            former, self.vectors = self.vectors, self._neighbours(self.embedder.dim)
            if former is not None:
                former.close()
        self._embedded_below = 0
        self._rounds += 1
        self._waiting = 0
        self.has_more_to_embed(len(self.catalogue))

    def _fill(self) -> None:
        try:
            self._list()
            self._load_vectors()
        except SunaivaError as error:
            self._give_up(str(error))
            return
        except Exception as error:  # noqa: BLE001 (the end of this thread: nobody else would tell the person)
            self._give_up(f"The language model cannot be used ({type(error).__name__}).")
            return
        while not self._stop.is_set():
            patience = None
            try:
                if self._embed_some():
                    continue
            except SunaivaError as error:
                # Nothing is lost: what has no vector yet is found by its words.
                _log.warning("embedding waits: %s", error)
                patience = _RETRY_SECONDS
            except Exception as error:  # noqa: BLE001 (as above; what is embedded stays searchable by meaning)
                self._give_up(
                    f"The language model stopped ({type(error).__name__}). Restart the agent."
                )
                return
            self._wake.wait(patience)
            self._wake.clear()

    def _neighbours(self, dim: int) -> Neighbours:
        if self._graph_from is None:
            return Neighbours(dim, None)
        return Neighbours(dim, self._graph, graph_from=self._graph_from)

    def _give_up(self, why: str) -> None:
        self._trouble = why
        _log.warning("search by meaning is off: %s", why)

    def _list(self) -> None:
        with self._changing, self._vault.reading() as db:
            self.catalogue.load(store.scan(db))
            self._listed = True

    def _load_vectors(self) -> None:
        embedder = self._open_embedder()
        with self._changing:
            with self._vault.writing() as db:
                db.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", [embedder.model_id])
                (self._model,) = db.execute(
                    "SELECT number FROM models WHERE name = ?", [embedder.model_id]
                ).fetchone()
            vectors = self._neighbours(embedder.dim)
            with self._vault.reading() as db:
                (self._waiting,) = db.execute(
                    "SELECT count(*) FROM memories WHERE row NOT IN (SELECT memory FROM vectors WHERE model = ?)",
                    [self._model],
                ).fetchone()
                cursor = db.execute(
                    "SELECT memory, code, scale FROM vectors WHERE model = ? ORDER BY memory",
                    [self._model],
                )
                while batch := cursor.fetchmany(_LOAD_BATCH):
                    vectors.add(
                        np.fromiter((row for row, _, _ in batch), np.int64, len(batch)),
                        np.frombuffer(b"".join(code for _, code, _ in batch), np.int8).reshape(
                            len(batch), -1
                        ),
                        np.fromiter((scale for _, _, scale in batch), np.float32, len(batch)),
                    )
            self.embedder, self.vectors = embedder, vectors

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
    )
