"""Names and keys in few bytes: a name is stored once and known by its number, an idempotency key by its digest.

A name says something (a conversation's, a person's), so one that no memory bears any more is erased with the last of them.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

_KEY_BYTES = 16
_SHORT_KEY = re.compile("[0-9a-f]{32}")


def short_key(key: str) -> str:
    """A source's idempotency key as vaults and exports hold it: 32 hexadecimal digits that stand for it.

    The same in every vault, so that an export taken in elsewhere still knows what was imported before.
    """
    if _SHORT_KEY.fullmatch(key):
        return key
    return hashlib.sha256(key.encode()).digest()[:_KEY_BYTES].hex()


def number(db: "Database", name: str | None) -> int | None:
    """The number of a name, given to it if it is new. No name has no number."""
    if name is None:
        return None
    found = db.execute("SELECT number FROM names WHERE name = ?", [name]).fetchone()
    if found is None:
        found = db.execute(
            "INSERT INTO names (name) VALUES (?) RETURNING number", [name]
        ).fetchone()
    return int(found[0])


def of(db: "Database", rows: Iterable[int]) -> set[int]:
    """The numbers of the names that these memories bear."""
    found = db.execute(
        """SELECT space, speaker, conversation, trust, client, tool FROM records
           WHERE row IN (SELECT value FROM json_each(?))""",
        [json.dumps(list(rows))],
    ).fetchall()
    return {number for numbers in found for number in numbers if number is not None}


def erase_unused(db: "Database", numbers: set[int]) -> None:
    """Erase those of these names that no memory bears. Looks through all memories for each that is not a conversation's."""
    db.execute(
        """DELETE FROM names WHERE number IN (SELECT value FROM json_each(?))
               AND NOT EXISTS (SELECT 1 FROM records WHERE conversation = number)
               AND NOT EXISTS (SELECT 1 FROM records WHERE
                   number IN (space, speaker, trust, client, tool))""",
        [json.dumps(sorted(numbers))],
    )
