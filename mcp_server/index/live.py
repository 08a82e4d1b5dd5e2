"""The indexes of an open vault, kept in step with it: words, catalogue, vectors, embedder, and the thread that fills them.

Everything here is a projection of the encrypted rows and can be thrown away. The keyword index answers at once; the others
load in the background, and `IndexState` says so. No word waits for a model, which may take minutes to be made ready. A memory stored without a vector is embedded here, the newest before
the others, whenever the thread has nothing to do that is more useful.

Another model takes over only when it has read everything: until then its vectors grow beside the others, which go on serving.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcp_server.index import codes, loading
from mcp_server.index.catalogue import Catalogue, Entry
from mcp_server.index.cross import CrossEncoder
from mcp_server.index.embedder import Embedder
from mcp_server.index.filling import Filling, Hold
from mcp_server.index.lexical import LexicalIndex, terms_of
from mcp_server.index.models import IndexState, Models
from mcp_server.index.neighbours import GraphOnDisk, Neighbours
from mcp_server.index.precedence import Precedence
from mcp_server.index.preparing import Preparing
from mcp_server.index.succession import Succession
from mcp_server.index.words import HEAD_CHARS
from mcp_server.vault import listing, store, vector_store
from mcp_server.vault.db import OpenVault
from shared.errors import CorruptError, SunaivaError, UnavailableError

if TYPE_CHECKING:
    from sqlite_utils import Database

_log = logging.getLogger(__name__)

_CUES_BATCH = 500  # some 50 ms: who stores a memory meanwhile waits no longer
# Vectors of another model go on serving if at least so many memories have one; or else there is little to lose.
_WORTH_KEEPING = 0.5
# A full disk, a busy vault or a low battery: embedding is tried again after this, or as soon as something new is stored.
_RETRY_SECONDS = 60.0
# Up to so many memories are embedded before they are stored, so that they are found by meaning at once.
EMBED_AT_ONCE_MAX = 4
# The words of more memories than these, some milliseconds' worth, are read in the background.
_READ_AT_ONCE_MAX = 64
# What comes by the thousand comes in pieces, each in a second or two. So long the next one is waited for before the words are read of
# which there are too few for a segment, and before anything slower is begun.
_NEXT_PIECE_SECONDS = 0.25
_LAST_PIECE_SECONDS = 2.0


class LiveIndex:
    """Owns the indexes and their thread."""

    def __init__(
        self,
        vault: OpenVault,
        models: Models,
        graph: GraphOnDisk,
        *,
        graph_from: int | None,
        keep_tokens: bool = False,
    ) -> None:
        self.precedence = Precedence()
        self.lexical = LexicalIndex(precedence=self.precedence)
        self.catalogue = Catalogue()
        self.keeps_tokens = keep_tokens
        self.cross: CrossEncoder | None = None
        self.rests: Callable[[], bool] = lambda: False
        """Whether the model shall read nothing now that nobody waits for."""
        self._vault = vault
        self._models = models
        self._graph = graph
        self._graph_from = graph_from
        self._changing = threading.RLock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.hold = Hold(self._wake)
        self._listed = False
        self._waiting = 0
        self._trouble: str | None = None
        self._serving: tuple[Embedder, Neighbours] | None = None
        self._filling: Filling | None = None
        self._succession = Succession(vault, models, self._changing, self._serve)
        self._tokens: Filling | None = None
        self._many_came = False
        self._cues_unread = True  # some memories' cues may not have been read
        self._rounds = 0  # how often everything was begun anew
        # What changes while an index loads is read once more at the end.
        self._loading = True
        self._touched: set[int] = set()
        self._thread = threading.Thread(target=self._fill, name="index", daemon=True)
        self._preparing = Preparing(failed=self._give_up, ended=self._wake.set)

    @property
    def embedder(self) -> Embedder | None:
        return None if self._serving is None else self._serving[0]

    @property
    def vectors(self) -> Neighbours | None:
        return None if self._serving is None else self._serving[1]

    def serving(self) -> tuple[Embedder, Neighbours] | None:
        """Model and vectors that belong together; asked for one after the other, a reindex may come between."""
        return self._serving

    def start(self) -> None:
        try:
            with self._vault.reading() as db:
                self.lexical.load(db)
        except CorruptError as error:
            # A damaged vault is opened all the same, so that `doctor` can say what is wrong.
            self._give_up(str(error))
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._preparing.close()
        self.lexical.close()
        if self.vectors is not None:
            self.vectors.close()

    def state(self) -> IndexState:
        reindexing = self._succession.reindexing(len(self.catalogue))
        return IndexState(
            self._listed,
            self._serving is not None,
            self._waiting,
            self._trouble,
            len(self.lexical.waiting),
            reindexing,
            self._succession.refused,
        )

    def reindex(self, folder: Path | None) -> None:
        """Let the model in this folder (None: that of the settings) take over. Until it has read everything, and if it cannot,
        the present one goes on; asking for the present one again ends a reindex under way."""
        if self._serving is None:
            self._trouble = None  # this may help
        self._succession.ask(folder)
        self._wake.set()
        if not self._thread.is_alive() and not self._stop.is_set():
            self._trouble = None
            self._thread = threading.Thread(target=self._fill, name="index", daemon=True)
            self._thread.start()

    def changing(self) -> contextlib.AbstractContextManager[object]:
        """Hold this around a vault transaction and the calls below that follow it, so the two never part."""
        return self._changing

    def put(self, db: "Database", stored: Sequence[store.Row]) -> Callable[[], None]:
        """Read what the caller's transaction wrote about these memories, inside of `changing`; what it returns is to be called
        once that is committed, and takes them into the indexes."""
        rows = [each.row for each in stored]
        entries = [Entry(*line) for line in listing.of(db, rows)] if self._listed else []

        def follow() -> None:
            for each in stored:
                if self.lexical.lacks(each.row):
                    self.lexical.put(each.row, terms_of(each.memory))
            self._touch(rows)
            for entry in entries:
                self.catalogue.put(entry)
            if self._tokens is not None or self.lexical.due:
                self._wake.set()

        return follow

    def put_many(self, db: "Database", rows: range) -> Callable[[], None]:
        """`put`, of many new memories whose cues nobody has read and that have no vectors."""
        lines = listing.between(db, rows[0], rows[-1]) if self._listed else []
        few: Sequence[store.Row] = ()
        # Of very many the newest are read at once, too, if nothing can be found yet: a new device is asked long before it has all.
        if len(rows) <= _READ_AT_ONCE_MAX or not len(self.lexical):
            few = store.in_span(db, rows[-_READ_AT_ONCE_MAX:][0], rows[-1])

        def follow() -> None:
            if few:
                self.lexical.leave_until(few[0].row - 1)
            for each in few:
                self.lexical.put(each.row, terms_of(each.memory))
            self.lexical.leave_until(rows[-1])
            self._touch(rows)
            self.catalogue.add(lines)
            self._cues_unread = True
            self._many_came = self._many_came or len(rows) > _READ_AT_ONCE_MAX
            self.has_more_to_embed(len(rows))

        return follow

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
        return self.store_codes(db, rows, codes.pack4(vectors))

    def store_codes(
        self, db: "Database", rows: Sequence[int], code: NDArray[np.uint8]
    ) -> Callable[[], None]:
        """`store_vectors`, of codes that the present model's vectors have on another device."""
        assert self._filling is not None
        vector_store.put(db, "vectors", self._filling.number, rows, code)

        def follow() -> None:
            self._touch(rows)
            if self.vectors is not None:
                self.vectors.add(np.asarray(rows, dtype=np.int64), code)

        return follow

    def has_more_to_embed(self, number: int) -> None:
        self._waiting += number
        self._wake.set()

    def has_less_to_embed(self, rows: Sequence[int]) -> None:
        """These have the vectors that another device made."""
        assert self._filling is not None
        self._filling.done(rows)
        self._waiting = max(0, self._waiting - len(rows))

    def tidy_words(self) -> bool:
        """Bring the keyword index forward by one piece; whether there was any to do."""
        return self.lexical.tidy(self._vault, self._changing)

    def start_over(self) -> None:
        """Read and embed everything again: the keyword index and the vectors in the vault are gone."""
        with self._vault.reading() as db:
            self.lexical.load(db)
        if self._serving is not None:
            embedder, former = self._serving
            self._serving = (embedder, self._neighbours(embedder.dim))
            former.close()
        for filling in (self._filling, self._succession.coming, self._tokens):
            if filling is not None:
                filling.start_over()
        self._cues_unread = True
        self._rounds += 1
        self._waiting = self._succession.come = 0
        self.has_more_to_embed(len(self.catalogue))

    def _fill(self) -> None:
        self._preparing.begin(self._load)
        while not self._stop.is_set():
            patience: float | None
            self.precedence.give_way()
            try:
                if self._succession.is_asked:
                    self._preparing.begin(self._consider)
                if not self.lexical.due and self._another_piece_came():
                    continue
                if tidied := self.tidy_words():
                    if self.lexical.waiting:
                        continue
                else:
                    tidied = self._read_cues()
                # In turn: a merge may take a minute, and what is new shall be found by meaning before that.
                rests = self.rests()
                can_work = self._serving is not None and not self._preparing.is_under_way
                if (can_work and not rests and self._work()) or tidied:
                    continue
                patience = _RETRY_SECONDS if rests else None
            except SunaivaError as error:
                # Nothing is lost: the texts are there, and what has no vector yet is found by its words.
                _log.warning("the indexes wait: %s", error)
                patience = _RETRY_SECONDS
            except Exception:  # noqa: BLE001 (the end of this thread: nobody else would tell the person)
                _log.exception("the indexes stopped")
                self._give_up("The indexes stopped. Restart the agent; its log says why.")
                return
            self._wake.wait(patience or self.hold.left_seconds() or None)
            self._wake.clear()

    def _another_piece_came(self) -> bool:
        """Whether more follows upon many that came at once: their words go before everything that takes longer."""
        if not self._many_came:
            return False
        has_rest = bool(self.lexical.waiting)
        self._many_came = has_rest  # if so, it is waited once more
        self._wake.clear()
        return self._wake.wait(_NEXT_PIECE_SECONDS if has_rest else _LAST_PIECE_SECONDS)

    def _load(self) -> None:
        if not self._listed:
            self._list()
        if self._serving is None:
            self._load_vectors()
        self._open_cross()

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
        last = loading.list_all(self._vault, self.catalogue, stop=self._stop)
        with self._changing, self._vault.reading() as db:
            self.catalogue.load(listing.after(db, last, limit=loading.BATCH))
            self.catalogue.join()
            loading.list_again(db, self.catalogue, self._touched)
            self._touched.clear()
            self._listed = True

    def _load_vectors(self) -> None:
        """First what the vault has vectors of, so that it is searched at once; then whatever model is wanted."""
        with self._vault.reading() as db:
            there, chosen, memories = (
                vector_store.serving(db),
                vector_store.chosen(db),
                store.count(db),
            )
        if there is not None and there.vectors >= _WORTH_KEEPING * memories:
            with contextlib.suppress(UnavailableError):  # its export was deleted
                self._serve(self._models.open(there.model))
        with self._succession.looking(otherwise=chosen) as folder:
            try:
                self._succession.choose(folder, present=self.embedder)
            except SunaivaError as error:
                if self._serving is None:
                    raise
                self._succession.refuse(error)

    def _open_cross(self) -> None:
        if self._models.cross is not None and self.cross is None:
            try:
                self.cross = self._models.cross()
            except SunaivaError as error:
                self._succession.refuse(error)

    def _consider(self) -> None:
        """Turn to the model asked for last."""
        with self._succession.looking() as folder:
            try:
                self._succession.choose(folder, present=self.embedder)
            except SunaivaError as error:
                self._succession.refuse(error)
                if self._serving is None:
                    self._give_up(str(error))

    def _serve(self, embedder: Embedder) -> None:
        """Search with this model from now on, over the vectors that the vault has of it."""
        with self._changing:
            with self._vault.writing() as db:
                number = vector_store.model_number(db, embedder.model_id)
                strange = vector_store.keep_only(db, "vectors", number)
                vector_store.keep_only(db, "token_codes", number if self.keeps_tokens else None)
            if strange:
                self._graph.drop()
            self._loading, this_round = True, self._rounds
            self._touched.clear()
        vectors = self._neighbours(embedder.dim)
        last = loading.take_in(self._vault, vectors, number, after=0, stop=self._stop)
        with self._changing:
            if self._rounds != this_round:  # what was read until now is no longer in the vault
                vectors, last = self._neighbours(embedder.dim), 0
            last = loading.take_in(self._vault, vectors, number, after=last, stop=self._stop)
            loading.take_in_again(self._vault, vectors, number, self._touched)
            self._touched.clear()
            live = np.flatnonzero(self.catalogue.columns["live"])
            waiting = live[~vectors.has(live)]
            self._waiting = len(waiting)
            self._filling = Filling("vectors", embedder, number)
            self._filling.below = int(waiting[0]) - 1 if len(waiting) else last
            self._tokens = Filling("token_codes", embedder, number) if self.keeps_tokens else None
            self._serving = (embedder, vectors)
            self._loading = False

    def _read_cues(self) -> bool:
        """Read the cues of one batch of memories from before there were any; whether there was one."""
        if not self._cues_unread or not self._listed:
            return False
        with self._changing:
            with self._vault.writing() as db:
                read = store.read_cues(db, limit=_CUES_BATCH)
            for row, flags in read:
                self.catalogue.columns["flags"][row] = flags
            self._cues_unread = bool(read)
        return self._cues_unread

    def _work(self) -> bool:
        """One batch of whatever waits, the most useful first; whether there was any."""
        assert self._filling is not None
        if not self.hold.left_seconds() and self._embed_some(self._filling):
            return True
        if self.vectors is not None:
            self.vectors.settle()
        if self._tokens is not None and self._embed_some(self._tokens):
            return True
        coming = self._succession.coming
        return coming is not None and (self._embed_some(coming) or self._take_over(coming))

    def _embed_some(self, filling: Filling) -> bool:
        with (
            self._changing,
            self._vault.reading() as db,
        ):  # so that nothing is stored unseen meanwhile
            this_round = self._rounds
            rows = filling.next(db)
            waiting = vector_store.heads(db, rows, chars=HEAD_CHARS)
            if not rows and filling is self._filling:
                self._waiting = 0
        if not rows:
            return False
        made = filling.read(waiting)
        with self._changing:
            with self._vault.writing() as db:
                # Some may have been forgotten while the model was thinking.
                alive = set(store.by_rows(db, [row for row, _, _ in waiting]))
                kept = {
                    row: one for (row, _, _), one in zip(waiting, made, strict=True) if row in alive
                }
                follow = self._keep(db, filling, kept)
            follow()
            if self._rounds == this_round:
                filling.done(rows)
                if filling is self._filling:
                    self._waiting = max(0, self._waiting - len(rows))
                elif filling is self._succession.coming:
                    self._succession.come += len(kept)
        return True

    def _keep(
        self, db: "Database", filling: Filling, made: Mapping[int, Any]
    ) -> Callable[[], None]:
        """Write what a model made of these rows; what it returns is called after the commit."""
        if filling.table == "token_codes":
            vector_store.put_tokens(db, filling.number, made.items())
        elif made and filling.table == "vectors_coming":
            code = codes.pack4(np.stack(list(made.values())))
            vector_store.put(db, filling.table, filling.number, list(made), code)
        elif made:
            return self.store_vectors(db, list(made), np.stack(list(made.values())))
        return lambda: None  # no index in memory follows

    def _take_over(self, coming: Filling) -> bool:
        """Search with the model that has now read everything; the vectors of the former are gone then. False if it has not."""
        assert self._serving is not None
        with self._changing:
            with self._vault.reading() as db:
                if vector_store.waiting(db, "vectors_coming", coming.number):
                    return True  # stored since; a round more
            former = self._serving[1]
            former.close()
            # Before the rows: if we crash between the two, nothing on the disk is of another model than they are.
            self._graph.drop()
            with self._vault.writing() as db:
                vector_store.promote(db)
            self._serve(coming.embedder)
            self._succession.coming = None
        return True
