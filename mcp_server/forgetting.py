"""Forgetting for good: show what would go, have it confirmed, erase it everywhere, and look whether anything is left.

After `erase` the row, its keyword postings, its vector, the versions it superseded and the pages they stood on are gone
from the vault, from its write-ahead log and from memory. What the access log keeps is that something was forgotten.
There is no trash and no undo; a backup made before still holds what it held, and the answer says so.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from mcp_server.device import Device
from mcp_server.index import lexical
from mcp_server.memory import lexical_text, present
from mcp_server.model import Memory
from mcp_server.vault import audit, pages, store
from mcp_server.vault.store import Row, Selection
from shared import crypto
from shared.errors import ForbiddenError, InvalidError
from shared.ids import MemoryId

# A wrong `forget` of a whole space is the worst mistake an assistant can make; larger ones are the person's, in the terminal.
PER_CALL_MAX = 1_000
_TOKEN_BYTES = 6
# Pieces of a text that are searched for on decrypted pages. Shorter ones stand in innocent texts, longer ones may lie
# across two pages.
_NEEDLE_BYTES = 24


class Erased(Struct, frozen=True):
    memories: tuple[MemoryId, ...]


class Traces(Struct, frozen=True):
    """What to look for after an erasure; taken before it."""

    pieces: dict[bytes, str]
    """Bytes of texts and vectors, and what each of them is."""
    words: tuple[str, ...]
    """Words that no other memory has."""


class Evidence(Struct, frozen=True):
    """What was looked for after an erasure, and where; `left` must be empty."""

    pages: int
    pieces: int
    words: int
    left: tuple[str, ...]


def chosen(
    device: Device,
    *,
    ids: Sequence[str] = (),
    conversation: str | None = None,
    space: str | None = None,
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
            named += store.page(db, selection, before_row=None, limit=PER_CALL_MAX + 1)
        everything = {row.row: row for row in named}
        for row in named:
            everything |= {older.row: older for older in store.superseded_chain(db, row.memory.id)}
    if len(everything) > PER_CALL_MAX:
        raise InvalidError(
            f"That is more than {PER_CALL_MAX:,} memories; one call forgets at most so many. Nothing was forgotten. "
            "Narrow it down, or use `sunaiva forget --all-in-space` in a terminal."
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


def erase(device: Device, rows: Sequence[Row], *, client: str) -> Erased:
    """Erase memories and every trace of them that this device keeps."""
    ids = tuple(row.memory.id for row in rows)
    with device.changing() as change:
        for row in rows:
            lexical.remove(change.db, row.row, lexical_text(row.memory))
            store.delete(change.db, row.row, row.memory.id)
        audit.note(
            change.db,
            device.keys.audit,
            at=device.clock(),
            client=client,
            action="forget",
            memories=ids,
            count=len(ids),
        )
        change.then(lambda: device.index.remove([row.row for row in rows]))
    device.vault.truncate_wal()
    return Erased(ids)


def traces(device: Device, rows: Sequence[Row]) -> Traces:
    """What these memories consist of on the disk, less what other memories have in common with them."""
    doomed = "[" + ",".join(str(row.row) for row in rows) + "]"
    pieces: dict[bytes, str] = {}
    with device.vault.reading() as db:
        for row in rows:
            for piece in _pieces(row.memory):
                shared = db.execute(
                    """SELECT 1 FROM memories WHERE instr(CAST(text AS BLOB), ?)
                       AND row NOT IN (SELECT value FROM json_each(?)) LIMIT 1""",
                    [piece, doomed],
                ).fetchone()
                if shared is None:
                    pieces[piece] = f"text of {row.memory.id}"
            stored = db.execute(
                "SELECT code, scale FROM vectors WHERE memory = ?", [row.row]
            ).fetchone()
            if stored is not None:
                pieces |= _vector_pieces(row.memory.id, *stored)
        said = {word for row in rows for word in lexical.words(row.memory.text)}
        words = tuple(word for word in sorted(said) if lexical.only_in(db, word, doomed))
    return Traces(pieces, words)


def verify(device: Device, wanted: Traces) -> Evidence:
    """Look for the traces on every decrypted page, free pages and the log included, and in the keyword index."""
    looked_at = list(pages.decrypted(device.vault.path, device.keys.database))
    left = {wanted.pieces[piece] for piece in pages.occurrences(looked_at, wanted.pieces)}
    with device.vault.reading() as db:
        left |= {f"the word {word!r}" for word in wanted.words if lexical.has(db, word)}
    return Evidence(len(looked_at), len(wanted.pieces), len(wanted.words), tuple(sorted(left)))


def _pieces(memory: Memory) -> list[bytes]:
    text = memory.text.encode()
    if len(text) <= _NEEDLE_BYTES:
        return [text] if len(text) >= 8 else []  # shorter ones are found in anything
    return [
        text[start : start + _NEEDLE_BYTES]
        for start in range(0, len(text) - _NEEDLE_BYTES + 1, _NEEDLE_BYTES)
    ]


def _vector_pieces(memory_id: MemoryId, code: bytes, scale: float) -> dict[bytes, str]:
    """The vector as int8, as float32 and as normalised float32, each by a piece from its middle."""
    middle = slice(len(code) // 2, len(code) // 2 + 16)
    values = np.frombuffer(code, np.int8).astype(np.float32) * np.float32(scale)
    unit = values / np.linalg.norm(values)
    return {
        code[middle]: f"vector of {memory_id} (int8)",
        values[middle].tobytes(): f"vector of {memory_id} (float32)",
        unit[middle].tobytes(): f"vector of {memory_id} (normalised)",
    }
