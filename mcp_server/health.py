"""The truth about an open vault: is the file sound, do the indexes agree with it, is the log whole. And the repair."""

import threading
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mcp_server import consolidate
from mcp_server.device import Device
from mcp_server.index.lexical import terms_of
from mcp_server.index.models import Reindexing
from mcp_server.vault import audit, store, texts, vector_store
from shared.errors import CorruptError, UnavailableError

if TYPE_CHECKING:
    from sqlite_utils import Database

_BATCH = 500
# To tell which memories of a damaged file can be read: of one that refuses so often, hardly any.
_REFUSALS_MAX = 1_000
_ROWS_LOOKED_AT = 100_000  # where their number itself cannot be read
# The index cannot be counted, only asked; an index that lost its contents shows in a few hundred questions.
_SAMPLED = 200
_WATCH_SECONDS = 0.25


class Health(Struct, frozen=True, kw_only=True):
    memories: int | None
    """None: they cannot be counted."""
    spaces: int
    embedded: int
    model: str | None
    """What embeds questions now; None while it loads or if it cannot."""
    searched: str
    trouble: str | None
    reindexing: Reindexing | None
    """Another model is on its way."""
    refused: str | None
    """Why a model that was asked for is not used."""
    packed: int
    """Memories whose texts are in compressed blocks."""
    consolidated: consolidate.Last | None
    damage: str | None
    """That the file is damaged, how much of it can be read, and what to do."""
    problems: list[str]
    """What is wrong with the file or its log; empty when all is well."""
    file_bytes: int


def examine(device: Device) -> Health:
    """Look at everything; changes nothing."""
    problems = device.vault.problems()
    damage = _damage(device) if problems else None
    memories = None
    spaces = embedded = packed = 0
    consolidated = None
    try:
        with device.vault.reading() as db:
            if damage is None:
                problems += _disagreements(device, db)
            memories = store.count(db)
            spaces = len(store.spaces(db))
            packed = memories - texts.loose_amount(db).memories
            there = vector_store.serving(db)
            embedded = 0 if there is None else there.vectors
        consolidated = consolidate.last(device)
    except CorruptError as error:
        if damage is None:
            problems.append(str(error))
            damage = _damage(device)
    state = device.index.state()
    embedder = device.index.embedder
    return Health(
        memories=memories,
        spaces=spaces,
        embedded=embedded,
        model=None if embedder is None else embedder.model_id,
        searched="full" if state.meaning and not state.waiting else "keywords",
        trouble=state.trouble,
        reindexing=state.reindexing,
        refused=state.refused,
        packed=packed,
        consolidated=consolidated,
        damage=damage,
        problems=problems,
        file_bytes=device.vault.path.stat().st_size,
    )


def _damage(device: Device) -> str:
    device.damaged = True
    readable, known = _readable(device)
    return (
        f"The vault's file is damaged. {readable:,} {f'of {known:,} ' if known else ''}memories can be read; nothing is stored any "
        "more. Put a backup back with `sunaiva restore BACKUP`, which keeps the damaged file beside it."
    )


def _readable(device: Device) -> tuple[int, int | None]:
    """How many memories can be read whole, at least, and how many there are, if that can be told."""
    try:
        with device.vault.reading() as db:
            known = store.count(db)
            newest = store.newest_row(db)
    except CorruptError:
        known, newest = None, _ROWS_LOOKED_AT
    spans = [(first, min(first + _BATCH - 1, newest)) for first in range(1, newest + 1, _BATCH)]
    readable = refusals = 0
    while spans and refusals < _REFUSALS_MAX:
        first, last = spans.pop()
        try:
            with device.vault.reading() as db:
                readable += len(store.in_span(db, first, last))
        except CorruptError:
            refusals += 1
            middle = (first + last) // 2
            if first < last:
                spans += [(first, middle), (middle + 1, last)]
    return readable, known


def _disagreements(device: Device, db: "Database") -> list[str]:
    found = []
    broken = audit.broken_at(db, device.keys.audit)
    if broken is not None:
        found.append(
            f"The access log was changed from outside: line {broken} does not follow from the one before."
        )
    sample = _sample(device, db)
    missing = [row for row, term in sample if not _says(device, db, row, term)]
    if missing:
        found.append(
            f"The keyword index misses {len(missing)} of {len(sample)} memories looked at. "
            "Repair it with `sunaiva doctor --rebuild`."
        )
    return found


def rebuild(device: Device) -> Iterator[dict[str, Any]]:
    """Make the keyword index, the cues and the vectors anew from the memories; yields progress. Nothing canonical is touched."""
    with device.changing() as change:
        total = store.count(change.db)
        device.index.lexical.clear(change.db)
        vector_store.clear(change.db)
        store.forget_cues(change.db)
        change.then(device.index.start_over)
    # From here on it is what the index thread does anyway, should this be broken off.
    while device.index.tidy_words():
        done = min(total, len(device.index.lexical))
        yield {"doing": "Rebuilding the keyword index", "done": done, "total": total}
    if total:
        yield {"doing": "Rebuilding the keyword index", "done": total, "total": total}


def reindexed(device: Device) -> Generator[dict[str, Any], None, Health]:
    """Watch a reindex until it has ended; yields progress. It goes on without its watcher.

    Raises:
        UnavailableError: the model cannot be used; the one before goes on.
    """
    pause = threading.Event()
    while (state := device.index.state()).reindexing is not None and state.trouble is None:
        coming = state.reindexing
        if coming.model is None:
            yield {"doing": "Preparing the language model"}
        else:
            yield {
                "doing": "Reading with the new model",
                "done": coming.done,
                "total": coming.total,
            }
        pause.wait(_WATCH_SECONDS)
    if (why := state.refused or state.trouble) is not None:
        raise UnavailableError(f"{why} Nothing was changed.")
    return examine(device)


def _sample(device: Device, db: "Database") -> list[tuple[int, str]]:
    """Some of the memories that should be found by their words, each with the longest, which is rarely the most frequent."""
    waiting = device.index.lexical.waiting
    rows = db.execute("SELECT row FROM records ORDER BY random() LIMIT ?", [_SAMPLED]).fetchall()
    found = store.by_rows(db, [row for (row,) in rows if row not in waiting])
    return [(row, max(terms, key=len)) for row, each in found.items() if (terms := terms_of(each))]


def _says(device: Device, db: "Database", row: int, term: str) -> bool:
    (there,) = device.index.lexical.postings(db, [term])
    return row in there.rows
