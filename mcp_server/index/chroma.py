"""Nearest vectors by Chroma's graph on the disk: for vaults too large to be scanned in memory.

Chroma is handed opaque numbers and protected vectors, never a text, metadata, a filter or a true vector; what it finds is
scored again with the true codes, which stay in the encrypted rows. It never really deletes (its queue and its graph keep
what was deleted), so forgetting is a new generation: a folder of its own, filled from the rows that are left, to which a
pointer is turned before the old folder is removed. All of it is a projection and may be thrown away at any time.
"""

import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.index.codes import Codes, cosines, scales_of, turn, unpack4_turned
from mcp_server.index.protect import BETA, Protection, protect, protection, rotate
from mcp_server.index.quiet import forbid_telemetry
from mcp_server.index.vectors import Rows, Scores
from shared.errors import CorruptError, UnavailableError

Batch = tuple[Rows, Codes]
"""Rows (n,), codes (n, dim / 2)."""
CodesOf = Callable[[Rows], Batch]
"""The true codes of those rows that still exist, in any order. A row it does not return is never found."""

# Noise moves the true nearest ten down by some places; four times as many held 0.99 of them (100,000 vectors, beta 1).
_FETCHED_MIN = 100
_FETCHED_TIMES = 4
# Beyond this, asking Chroma for more takes longer than scoring what is allowed.
_FETCHED_MAX = 4_096
# So few allowed rows are scored one by one: faster than asking for so many that these are among them.
_SCORED_ONE_BY_ONE_MAX = 2_000
# A rebuild lets go of the lock after so many (0.2 s), so that a memory stored meanwhile need not wait for all of it.
_STEP = 256
# Chroma's own 100 lose a tenth of the neighbours at a million vectors. It takes effect only when a collection is made.
_EF_SEARCH = 300

_COLLECTION = "vectors"
_POINTER = "current.json"
_PREFIX = "generation-"
_STAIN = "holds-removed"


class _Pointer(Struct, frozen=True):
    generation: str
    made_for: str
    """The mark of the key; a generation of another key finds nothing and is thrown away."""


class ChromaIndex:
    """Safe for one writer and many readers, also while it is rebuilt. Close it.

    It opens empty if there is nothing to open, or nothing of this key: compare `len` with the rows, and rebuild.
    """

    def __init__(
        self, folder: Path, key: bytes, dim: int, codes_of: CodesOf, beta: float = BETA
    ) -> None:
        self._folder = folder
        self._protection = protection(key, dim, beta)
        self._codes_of = codes_of
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._rebuilding = threading.Lock()
        self._next: _Generation | None = None
        self._touched: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._current = self._opened()

    def add(self, rows: Rows, codes: Codes) -> None:
        """Take in vectors; a row that is there is replaced."""
        with self._writing:
            for generation in self._all():
                generation.put(rows, codes)
            self._touch(rows)

    def remove(self, rows: Rows) -> None:
        """They are found no more. Their protected vectors stay on the disk until `rebuild`."""
        if not len(rows):
            return
        with self._writing:
            for generation in self._all():
                generation.drop(rows)
            self._touch(rows)

    def search(
        self, query: Scores, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Rows, Scores]:
        """The k nearest rows and their true cosines, best first; only rows that `allowed`, indexed by row, says True of."""
        count = len(self)
        number = count if allowed is None else int(np.count_nonzero(allowed))
        if allowed is not None and number <= _SCORED_ONE_BY_ONE_MAX:
            return self._best(query, np.flatnonzero(allowed), k)
        wanted = max(_FETCHED_MIN, _FETCHED_TIMES * k)
        most = min(max(_FETCHED_MAX, wanted), count)
        # Where a half is allowed, twice as many are asked for at once.
        fetched = wanted if number >= count else wanted * count // number + 1
        while True:
            fetched = min(fetched, most)
            rows = self._nearest(query, fetched)
            if allowed is not None:
                inside = rows[rows < len(allowed)]
                rows = inside[allowed[inside]]
            if fetched == most or len(rows) >= wanted:
                return self._best(query, rows[:wanted], k)
            fetched *= 4

    def cosines(self, query: Scores, rows: Rows) -> Scores:
        """The true cosine of each of these rows; 0 where there is no vector."""
        known, codes = self._codes_of(np.unique(rows))
        order = np.argsort(known)
        found = np.zeros(len(rows), np.float32)
        if len(known):
            at = np.minimum(np.searchsorted(known[order], rows), len(known) - 1)
            same = known[order][at] == rows
            found[same] = _scored(query, codes)[order][at[same]]
        return found

    def __len__(self) -> int:
        with self._reading:
            return self._current.count()

    def rows(self) -> Rows:
        """Every row that has a vector on the disk, ordered."""
        with self._reading:
            return self._current.rows()

    def holds_removed(self) -> bool:
        """Whether the disk still has a protected vector that was removed or replaced, even if that was before a crash."""
        with self._writing:
            return self._current.is_stained()

    def rebuild(self, batches: Iterable[Batch]) -> None:
        """All of it anew, from these batches; afterwards nothing else is on the disk. Empty batches empty it at once.

        Searches are answered from the old generation meanwhile, and what is added or removed meanwhile counts. If something
        was removed after this wrote it, `holds_removed` is still true afterwards, and another rebuild is due.
        """
        with self._rebuilding:
            with self._writing:
                self._next, self._touched = self._made(), set()
                made = self._next
            superseded = made
            try:
                for rows, codes in batches:
                    for start in range(0, len(rows), _STEP):
                        part = slice(start, start + _STEP)
                        self._fill(made, rows[part], codes[part])
                with self._writing, self._reading:
                    self._point_to(made)
                    superseded, self._current = self._current, made
            finally:
                with self._writing:
                    self._next = None
                superseded.destroy()

    def close(self) -> None:
        with self._rebuilding, self._writing, self._reading:
            self._current.close()

    def _nearest(self, query: Scores, number: int) -> Rows:
        if number == 0:
            return np.zeros(0, np.int64)
        turned = rotate(self._protection, turn(query))
        with self._reading:
            return self._current.nearest(turned, number)

    def _best(self, query: Scores, rows: Rows, k: int) -> tuple[Rows, Scores]:
        known, codes = self._codes_of(rows)
        scores = _scored(query, codes)
        best = np.argsort(-scores, kind="stable")[:k]
        return known[best], scores[best]

    def _fill(self, made: "_Generation", rows: Rows, codes: Codes) -> None:
        with self._writing:
            # What was added or removed since the rebuild began is newer than the batch.
            still = np.array([row not in self._touched for row in rows.tolist()], np.bool_)
            made.put(rows[still], codes[still])

    def _all(self) -> tuple["_Generation", ...]:
        return (self._current,) if self._next is None else (self._current, self._next)

    def _touch(self, rows: Rows) -> None:
        if self._next is not None:
            self._touched.update(rows.tolist())

    def _opened(self) -> "_Generation":
        """The generation that the pointer says, or an empty one; what crashes left beside it is removed."""
        pointer = self._pointer()
        current: _Generation | None = None
        if pointer is not None and (self._folder / pointer.generation).is_dir():
            current = _Generation(self._folder / pointer.generation, self._protection)
        if current is None:
            current = self._made()
            self._point_to(current)
        for left in self._folder.glob(f"{_PREFIX}*"):
            if left != current.folder:
                _remove(left)
        return current

    def _pointer(self) -> _Pointer | None:
        try:
            pointer = msgspec.json.decode((self._folder / _POINTER).read_bytes(), type=_Pointer)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return pointer if pointer.made_for == self._protection.mark else None

    def _made(self) -> "_Generation":
        """A new, empty generation, in a folder that never was: Chroma remembers what it once opened by path."""
        numbers = [int(left.name[len(_PREFIX) :]) for left in self._folder.glob(f"{_PREFIX}*")]
        folder = self._folder / f"{_PREFIX}{max(numbers, default=0) + 1}"
        folder.mkdir(mode=0o700)
        return _Generation(folder, self._protection)

    def _point_to(self, generation: "_Generation") -> None:
        pointer = _Pointer(generation.folder.name, self._protection.mark)
        beside = self._folder / f"{_POINTER}.new"
        beside.write_bytes(msgspec.json.encode(pointer))
        beside.replace(self._folder / _POINTER)


class _Generation:
    """Owns one folder and Chroma's client for it."""

    def __init__(self, folder: Path, protection: Protection) -> None:
        forbid_telemetry()  # chromadb brings onnxruntime
        import chromadb  # noqa: PLC0415 (a second, and 100 MB that small vaults never need)
        from chromadb.config import Settings  # noqa: PLC0415

        self.folder = folder
        self._protection = protection
        self._errors: type[Exception] = chromadb.errors.ChromaError
        # Said here because otherwise the environment may say it, or a .env file of whichever folder this was started in.
        settings = Settings(
            _env_file=None,
            anonymized_telemetry=False,
            chroma_otel_collection_endpoint="",
            chroma_api_impl="chromadb.api.rust.RustBindingsAPI",
            allow_reset=False,
        )
        try:
            self._client: Any = chromadb.PersistentClient(path=folder, settings=settings)
            self._collection: Any = self._client.get_or_create_collection(
                _COLLECTION,
                # Of cosine, inner product and distance, cosine suffers least from the noise, as measured.
                configuration={"hnsw": {"space": "cosine", "ef_search": _EF_SEARCH}},
                embedding_function=None,
            )
            self._batch: int = self._client.get_max_batch_size()
        except self._errors as error:
            raise _broken(folder) from error

    def put(self, rows: Rows, codes: Codes) -> None:
        # Of a row that is there twice, the last counts; Chroma would refuse both.
        last = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]
        for start in range(0, len(last), self._batch):
            part = last[start : start + self._batch]
            vectors = unpack4_turned(codes[part])
            self._put(rows[part], protect(self._protection, rows[part], vectors))

    def _put(self, rows: Rows, protected: Scores) -> None:
        ids = [str(row) for row in rows.tolist()]
        try:
            there = self._collection.get(ids=ids, include=["embeddings"])
            old = dict(zip(there["ids"], there["embeddings"], strict=True))
            # What is there already stays as it is: after a crash the same rows come again.
            new = [at for at, name in enumerate(ids) if not _same(old.get(name), protected[at])]
            if any(ids[at] in old for at in new):
                self._stain()
            if new:
                self._collection.upsert(ids=[ids[at] for at in new], embeddings=protected[new])
        except self._errors as error:
            raise _broken(self.folder) from error

    def drop(self, rows: Rows) -> None:
        self._stain()
        ids = [str(row) for row in rows.tolist()]
        try:
            for start in range(0, len(ids), self._batch):
                self._collection.delete(ids=ids[start : start + self._batch])
        except self._errors as error:
            raise _broken(self.folder) from error

    def nearest(self, query: Scores, number: int) -> Rows:
        try:
            answer = self._collection.query(
                query_embeddings=query[None, :], n_results=number, include=[]
            )
        except self._errors as error:
            raise _broken(self.folder) from error
        return np.array(answer["ids"][0], dtype=np.int64)

    def count(self) -> int:
        try:
            return int(self._collection.count())
        except self._errors as error:
            raise _broken(self.folder) from error

    def rows(self) -> Rows:
        try:
            ids = self._collection.get(include=[])["ids"]
        except self._errors as error:
            raise _broken(self.folder) from error
        return np.sort(np.array(ids, dtype=np.int64))

    def is_stained(self) -> bool:
        return (self.folder / _STAIN).exists()

    def close(self) -> None:
        self._client.close()

    def destroy(self) -> None:
        self.close()
        _remove(self.folder)

    def _stain(self) -> None:
        """Before it happens, so that a crash in between is seen."""
        (self.folder / _STAIN).touch()


def _same(old: Any, new: Scores) -> bool:
    # Sums of another order differ in the last bits.
    return old is not None and bool(np.allclose(old, new, rtol=0, atol=1e-5))


def _scored(query: Scores, codes: Codes) -> Scores:
    return cosines(codes, scales_of(codes), turn(query))


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise UnavailableError(
            f"{folder} holds vectors that are to be gone, and cannot be removed: {error.strerror}. Remove it by hand."
        ) from error


def _broken(folder: Path) -> CorruptError:
    return CorruptError(
        f"Chroma cannot use {folder}. Nothing is lost: remove the folder, and the index is made anew from the memories."
    )
