"""Forgetting for good: show what would go, have it confirmed, erase it everywhere, and look whether anything is left.

After `erase` the row, its keyword postings, its vector, the versions it superseded and the pages they stood on are gone
from the vault, from its write-ahead log and from memory. What the access log keeps is that something was forgotten.
There is no trash and no undo; a backup made before still holds what it held, and the answer says so.
"""

import itertools
import threading
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from mcp_server import changes
from mcp_server.device import Change, Device
from mcp_server.index.codes import unpack4
from mcp_server.index.lexical import terms_of
from mcp_server.index.precedence import Precedence
from mcp_server.memory import present
from mcp_server.model import Memory
from mcp_server.vault import names, pages, states, store, texts, vector_store
from mcp_server.vault.store import Row, Selection, as_bytes
from shared import crypto
from shared.errors import ForbiddenError, InvalidError, SunaivaError, UnavailableError
from shared.ids import MemoryId

if TYPE_CHECKING:
    from sqlite_utils import Database

# A wrong `forget` of a whole space is the worst mistake an assistant can make; larger ones are the person's, in the terminal.
PER_CALL_MAX = 1_000
_TOKEN_BYTES = 6
# What is erased in one transaction takes about so long: whoever asks meanwhile waits no longer than that.
_PIECE_SECONDS = 0.2
# A lock that is let go and taken again at once is never got by those who wait for it.
_PAUSE_SECONDS = 0.02
# A larger vault is rewritten while nobody uses it, or when somebody wants proof: nobody waits for seconds unasked.
_REWRITTEN_AT_ONCE_BYTES = 100_000_000
_FIRST_PIECE = 20  # of memories; as many as the time allows from then on
# Pieces of a text that are searched for on decrypted pages. Shorter ones stand in innocent texts, longer ones may lie
# across two pages.
_NEEDLE_BYTES = 24
# Of a long text, so many pieces from all over it: looking for every one of a megabyte takes minutes and proves no more,
# because a page that is left holds many of them.
_PIECES_MAX = 512
# Of a compressed block; its pages hold several each.
_BODY_PIECES = 32
_PIECE_BYTES_MAX = 64  # of a vector: sixteen float32
_FILE_PART_BYTES = 1 << 20
_TEXTS_AT_ONCE = 64  # joined, they are searched as fast as one
_NO_TEXT = b"\xff"  # a byte that UTF-8 does not have


class Traces(Struct, frozen=True):
    """What to look for after an erasure; taken before it."""

    pieces: dict[bytes, str]
    """Bytes of texts and vectors, and what each of them is."""
    words: tuple[str, ...]
    """Words, as the keyword index has them, that no other memory has."""
    rows: tuple[int, ...]
    """Their row numbers, by which a graph on the disk would know them."""


class Evidence(Struct, frozen=True, kw_only=True):
    """What was looked for after an erasure, and where; `left` must be empty."""

    pages: int
    files: int
    """Others than the vault's own: the graph of a large vault, logs."""
    pieces: int
    words: int
    left: tuple[str, ...]


def chosen(
    device: Device,
    *,
    ids: Sequence[str] = (),
    conversation: str | None = None,
    space: str | None = None,
    most: int = PER_CALL_MAX,
) -> list[Row]:
    """The memories a request names, with the older versions that each of them superseded.

    Raises:
        InvalidError: nothing is named, or more than one call may erase.
        NotFoundError: an id that does not exist.
    """
    if not ids and conversation is None and space is None:
        raise InvalidError("Say what to forget: ids, or a conversation, or a space.")
    with device.vault.reading() as db:
        named = [present(db, memory_id) for memory_id in ids]
        if conversation is not None or space is not None:
            selection = Selection(
                conversation=conversation,
                spaces=(space,) if space is not None else None,
                superseded=True,
            )
            named += store.page(db, selection, before=None, limit=most + 1)
        everything = {row.row: row for row in named}
        for row in named:
            everything |= {older.row: older for older in store.superseded_chain(db, row.memory.id)}
    if len(everything) > most:
        raise InvalidError(
            f"That is more than {most:,} memories; one call forgets at most so many. Nothing was forgotten. "
            "Narrow it down, or use `sunaiva forget --space` or `--conversation` in a terminal."
        )
    return sorted(everything.values(), key=lambda row: row.row)


def token(device: Device, rows: Sequence[Row]) -> str:
    """What confirms the erasure of exactly these memories, as they are now."""
    said = "\n".join(f"{row.memory.id} {row.memory.version}" for row in rows)
    return crypto.mac(device.keys.confirm, said.encode())[:_TOKEN_BYTES].hex()


def check_token(device: Device, rows: Sequence[Row], given: str) -> None:
    """Raises:
    ForbiddenError: the token is for something else, or the memories changed since.
    """
    if not crypto.equal(token(device, rows).encode(), given.encode("utf-8", "replace")):
        raise ForbiddenError(
            "That confirmation is not for these memories as they are now. Nothing was forgotten. Call forget without `confirm` "
            "to see what would go and get a new one."
        )


def erase(device: Device, rows: Sequence[Row], *, client: str) -> tuple[MemoryId, ...]:
    """Erase memories and every trace of them that this device keeps; their ids."""
    for _ in erasing(device, rows, client=client):
        pass
    return tuple(row.memory.id for row in rows)


def erasing(device: Device, rows: Sequence[Row], *, client: str) -> Generator[int, None, None]:
    """The same in pieces, each a transaction after which others get their turn; yields how many are done. Broken off, it leaves
    the others as they were."""
    done, size = 0, _FIRST_PIECE
    pause = threading.Event()
    device.vault.plan_rewrite()
    try:
        while done < len(rows):
            device.index.precedence.give_way()
            begun = time.monotonic()
            some = rows[done : done + size]
            _erase_some(device, some, client=client)
            done += len(some)
            wished = int(size * _PIECE_SECONDS / (time.monotonic() - begun))
            size = max(1, min(wished, 2 * size))
            pause.wait(_PAUSE_SECONDS)
            yield done
    except BaseException:
        with suppress(SunaivaError):  # what stopped it is what has to be told
            device.vault.truncate_wal()
        raise
    try:
        device.vault.truncate_wal()
        if device.vault.file_bytes() <= _REWRITTEN_AT_ONCE_BYTES:
            device.vault.rewrite()
        else:
            device.vault.plan_rewrite()  # again: one under way may have ended since, and been for what went before
    except UnavailableError as error:
        raise UnavailableError(
            "They are forgotten, but old copies of their pages may still be in the vault's file or log, which somebody is reading. "
            "The agent clears them away when it is not used for some minutes."
        ) from error


def _erase_some(device: Device, rows: Sequence[Row], *, client: str) -> None:
    with device.changing() as change:
        # Somebody else may have forgotten some of them meanwhile.
        there = store.by_rows(change.db, [row.row for row in rows])
        ids = [each.id for each in there.values()]
        changes.forget(device.clock, change.db, ids)
        take_out(device, change, there)
        device.note(change.db, "forget", ids, client=client)


def take_out(device: Device, change: Change, there: Mapping[int, Memory]) -> None:
    """Erase memories, by row, in a transaction under way; the indexes follow when it is committed. Traces on pages that are free
    now are for `OpenVault.rewrite`."""
    db = change.db
    borne = names.of(db, there)
    device.index.lexical.remove(db, {row: terms_of(memory) for row, memory in there.items()})
    superseded = set(states.let_go(db, [as_bytes(memory.id) for memory in there.values()]))
    for row, memory in there.items():
        store.delete(db, row, memory.id)
    names.erase_unused(db, borne)
    for memory in there.values():
        states.hand_on(db, memory.source.key)
    change.then(lambda: device.index.remove(list(there)))
    _show_again(device, change, superseded - there.keys())


def turn_from(device: Device, change: Change, absent: Collection[bytes]) -> None:
    """Let nothing point to memories that were forgotten before they came here."""
    superseded = states.let_go(change.db, absent)
    store.point_away(change.db, absent)
    _show_again(device, change, superseded)


def _show_again(device: Device, change: Change, rows: Collection[int]) -> None:
    shown = store.by_rows(change.db, rows)
    change.then(device.index.put(change.db, [Row(row, memory) for row, memory in shown.items()]))


def traces(device: Device, rows: Sequence[Row]) -> Traces:
    """What these memories consist of on the disk, less the words that other memories have, too."""
    doomed = [row.row for row in rows]
    pieces: dict[bytes, str] = {}
    with device.vault.reading() as db:
        for row in device.index.precedence.in_between(rows):
            pieces |= dict.fromkeys(_pieces(row.memory), f"text of {row.memory.id}")
            for body in texts.bodies(db, [row.row]).values():
                pieces |= dict.fromkeys(_body_pieces(body), f"the block that held {row.memory.id}")
            for code in vector_store.codes_of(db, row.row):
                pieces |= _vector_pieces(row, code)
            for tokens in vector_store.tokens_of(db, [row.row]).values():
                pieces[tokens] = f"tokens of {row.memory.id}"
        said = sorted({term for row in rows for term in terms_of(row.memory)})
        found = zip(said, device.index.lexical.postings(db, said), strict=True)
        words = tuple(term for term, there in found if np.isin(there.rows, doomed).all())
    return Traces(pieces, words, tuple(doomed))


def verify(device: Device, wanted: Traces) -> Evidence:
    """Look for the traces on every decrypted page, free pages and the log included, in the keyword index, and in every other
    file of the vault's folder as it lies there.
    """
    looked_at = 0
    if device.vault.rewrite_is_due:
        device.vault.rewrite()

    def counted() -> Iterator[bytes]:
        nonlocal looked_at
        clear = pages.decrypted(device.vault.path, device.keys.database)
        for page in device.index.precedence.in_between(clear):
            looked_at += 1
            yield page

    found = pages.occurrences(counted(), wanted.pieces)
    home = device.vault.path.parent
    others = [
        path
        for path in home.rglob("*")
        if path.is_file()
        and not (path.parent == home and path.name.startswith(device.vault.path.name))
    ]
    outside: set[bytes] = set()
    aside: set[str] = set()
    for path in others:
        outside |= pages.occurrences(_overlapping(path), wanted.pieces)
        # A vault that `restore` moved aside, under the same key.
        if path.name == device.vault.path.name and pages.occurrences(
            pages.decrypted(path, device.keys.database), wanted.pieces
        ):
            aside.add(f"the vault in {path.parent}, moved aside by a restore: delete that folder")
    with device.vault.reading() as db:
        said, nobodys = _in_texts(db, found, wanted.pieces, device.index.precedence)
        strange = {piece for piece in found - said if not vector_store.holds(db, piece)}
        left = {wanted.pieces[piece] for piece in strange | outside | nobodys}
        there = zip(wanted.words, device.index.lexical.postings(db, wanted.words), strict=True)
        left |= {f"the word {word!r}" for word, postings in there if len(postings.rows)}
    left |= aside
    if device.index.left_on_disk(wanted.rows):
        left.add("vectors in the folder chroma")
    return Evidence(
        pages=looked_at,
        files=len(others),
        pieces=len(wanted.pieces),
        words=len(wanted.words),
        left=tuple(sorted(left)),
    )


def _in_texts(
    db: "Database", found: set[bytes], pieces: Iterable[bytes], precedence: Precedence
) -> tuple[set[bytes], set[bytes]]:
    """Which of the pieces found a memory that is there has in its text: they are its, not a leftover. And which of all
    pieces stand in a text that no memory has, in a block perhaps, where no search of pages would see it.
    """
    rows = store.all_rows(db)
    nobodys: list[bytes] = []

    def theirs() -> Iterator[bytes]:
        for row, text in texts.every(db):
            if row in rows:
                yield text.encode()
            else:
                nobodys.append(text.encode())

    said = pages.occurrences(precedence.in_between(_joined(theirs())), filter(_is_text, found))
    return said, pages.occurrences(nobodys, pieces)


def _joined(encoded: Iterator[bytes]) -> Iterator[bytes]:
    """Many short texts as few long ones; no piece of a text stands in two."""
    while some := list(itertools.islice(encoded, _TEXTS_AT_ONCE)):
        yield _NO_TEXT.join(some)


def _is_text(piece: bytes) -> bool:
    return _NO_TEXT not in piece


def _overlapping(path: Path) -> Iterator[bytes]:
    """A file's bytes in parts that overlap by more than the longest piece."""
    with path.open("rb") as file:
        kept = b""
        while part := file.read(_FILE_PART_BYTES):
            yield kept + part
            kept = part[-_PIECE_BYTES_MAX:]


def _pieces(memory: Memory) -> list[bytes]:
    text = memory.text.encode()
    if len(text) <= _NEEDLE_BYTES:
        return [text] if len(text) >= 8 else []  # shorter ones are found in anything
    step = max(_NEEDLE_BYTES, len(text) // _PIECES_MAX)
    return [
        text[start : start + _NEEDLE_BYTES]
        for start in range(0, len(text) - _NEEDLE_BYTES + 1, step)
    ]


def _body_pieces(body: bytes) -> list[bytes]:
    """From all over a compressed block, which looks like noise: what is left of one has some of them."""
    step = max(_NEEDLE_BYTES, len(body) // _BODY_PIECES)
    return [
        body[start : start + _NEEDLE_BYTES]
        for start in range(0, len(body) - _NEEDLE_BYTES + 1, step)
    ]


def _vector_pieces(row: Row, code: bytes) -> dict[bytes, str]:
    """The vector as the vault codes it and as float32, each by a piece from its middle."""
    name = f"vector of {row.memory.id}"
    vector = unpack4(np.frombuffer(code, np.uint8)[None, :])[0]
    middle = slice(len(code) // 2, len(code) // 2 + 16)
    return {
        code[middle]: f"{name} (4-bit)",
        vector[middle].tobytes(): f"{name} (float32)",
    }
