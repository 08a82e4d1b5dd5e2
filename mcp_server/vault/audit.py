"""The access log: which client read or wrote which memories, when. Never what they say.

Each line's hash is an HMAC, under a key of the vault, over the line before it and its own fields,
so a line that is changed, dropped or put in between is found by `broken_at`, also when it was changed by someone who
can edit the file but has no key. A chain cannot tell that its newest lines were cut off: it is then a shorter, whole one.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from mcp_server.vault.store import as_bytes, as_id
from shared.clock import from_ms, to_ms
from shared.ids import MemoryId

if TYPE_CHECKING:
    from sqlite_utils import Database

Action = Literal[
    "remember",
    "recall",
    "read",
    "revise",
    "forget",
    "export",
    "import",
    "resolve",
    "rekey",
    "permit",
]

# A line names at most this many memories (their count is always exact): an export of a million is one short line.
IDS_PER_LINE_MAX = 100
_START = bytes(32)
# A client that did nothing for half an hour and then comes back begins a new session.
SESSION_GAP_MS = 30 * 60 * 1000
# How far back a session is looked for; who was away longer than this hears of no changes.
_LINES_LOOKED_BACK = 10_000


class Access(Struct, frozen=True, kw_only=True):
    seq: int
    at: datetime
    client: str
    action: Action
    memories: tuple[MemoryId, ...]
    count: int


def note(
    db: "Database",
    key: bytes,
    *,
    at: datetime,
    client: str,
    action: Action,
    memories: Sequence[MemoryId],
) -> None:
    """Append one line; part of the caller's transaction, so what happened and its line are stored together."""
    last = db.execute("SELECT seq, hash FROM access_log ORDER BY seq DESC LIMIT 1").fetchone()
    seq, previous = (last[0] + 1, last[1]) if last else (1, _START)
    ids = b"".join(as_bytes(memory) for memory in memories[:IDS_PER_LINE_MAX])
    line = (seq, to_ms(at), client, action, ids, len(memories))
    db.execute(
        "INSERT INTO access_log (seq, at_ms, client, action, memories, count, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [*line, _chain(key, previous, line)],
    )


def lines(db: "Database", *, before: int | None, limit: int) -> list[Access]:
    """The newest first."""
    found = db.execute(
        """SELECT seq, at_ms, client, action, memories, count FROM access_log
           WHERE seq < coalesce(?, seq + 1) ORDER BY seq DESC LIMIT ?""",
        [before, limit],
    )
    return [
        Access(
            seq=seq,
            at=from_ms(at_ms),
            client=client,
            action=action,
            memories=tuple(as_id(ids[start : start + 16]) for start in range(0, len(ids), 16)),
            count=count,
        )
        for seq, at_ms, client, action, ids, count in found
    ]


def session_before(db: "Database", client: str, *, now: datetime) -> int | None:
    """The last line of the session of a client before the one that is under way; `None` if it had none lately."""
    later = to_ms(now)
    for seq, at_ms in db.execute(
        """SELECT seq, at_ms FROM access_log
           WHERE seq > (SELECT max(seq) FROM access_log) - ? AND client = ? ORDER BY seq DESC""",
        [_LINES_LOOKED_BACK, client],
    ):
        if later - at_ms > SESSION_GAP_MS:
            return int(seq)
        later = at_ms
    return None


def written_since(db: "Database", seq: int, *, by_others_than: str, limit: int) -> list[MemoryId]:
    """What other clients stored or revised after a line, the latest first."""
    found = db.execute(
        """SELECT memories FROM access_log WHERE seq > ? AND client <> ?
           AND action IN ('remember', 'import', 'revise', 'resolve') ORDER BY seq DESC LIMIT ?""",
        [seq, by_others_than, limit],
    )
    ids = [as_id(line[at : at + 16]) for (line,) in found for at in range(len(line) - 16, -1, -16)]
    return list(dict.fromkeys(ids))[:limit]


def broken_at(db: "Database", key: bytes) -> int | None:
    """The number of the first line that does not follow from the one before; `None` if the chain is whole."""
    previous, expected = _START, 1
    for seq, *rest, stored in db.execute(
        "SELECT seq, at_ms, client, action, memories, count, hash FROM access_log ORDER BY seq"
    ):
        if seq != expected or not hmac.compare_digest(stored, _chain(key, previous, (seq, *rest))):
            return int(expected)
        previous, expected = stored, expected + 1
    return None


def _chain(key: bytes, previous: bytes, line: tuple[int | str | bytes, ...]) -> bytes:
    # Length before content, so that no two different lines have the same bytes.
    fields = [field if isinstance(field, bytes) else str(field).encode() for field in line]
    message = previous + b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return hmac.new(key, message, hashlib.sha256).digest()
