"""Which lists of other devices' vectors were gone through, and which of their pieces: SQL in here, and no vectors."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sqlite_utils import Database

Standing = Literal["taken", "flawed"]
"""taken: what could be used of it was; flawed: a piece of it was missing or damaged."""

SCHEMA = """
    CREATE TABLE vector_lists (
        id BLOB PRIMARY KEY CHECK (length(id) = 16),
        standing TEXT NOT NULL CHECK (standing IN ('taken', 'flawed')),
        -- everything in it was gone through
        is_done INTEGER NOT NULL CHECK (is_done IN (0, 1))
    ) STRICT, WITHOUT ROWID;
    -- Of those that were not gone through to their end.
    CREATE TABLE vector_pieces (
        list BLOB NOT NULL REFERENCES vector_lists (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        PRIMARY KEY (list, name)
    ) STRICT, WITHOUT ROWID;
"""


def standing(db: "Database", list_id: bytes) -> Standing | None:
    found = db.execute("SELECT standing FROM vector_lists WHERE id = ?", [list_id]).fetchone()
    return None if found is None else found[0]


def done(db: "Database") -> set[bytes]:
    """Lists that were gone through to their end."""
    found = db.execute("SELECT id FROM vector_lists WHERE is_done = 1")
    return {list_id for (list_id,) in found}


def pieces(db: "Database", list_id: bytes) -> set[str]:
    found = db.execute("SELECT name FROM vector_pieces WHERE list = ?", [list_id])
    return {name for (name,) in found}


def piece_is_done(db: "Database", list_id: bytes, name: str, *, standing: Standing) -> None:
    """A list that had a flaw keeps it."""
    db.execute(
        """INSERT INTO vector_lists (id, standing, is_done) VALUES (?, ?, 0)
           ON CONFLICT (id) DO UPDATE SET standing = min(standing, excluded.standing)""",
        [list_id, standing],
    )
    db.execute("INSERT OR IGNORE INTO vector_pieces (list, name) VALUES (?, ?)", [list_id, name])


def is_own(db: "Database", list_id: bytes) -> None:
    """There is nothing in it that is not here."""
    db.execute(
        "INSERT OR IGNORE INTO vector_lists (id, standing, is_done) VALUES (?, 'taken', 1)",
        [list_id],
    )


def is_done(db: "Database", list_id: bytes) -> None:
    """What was begun before it and never ended is let go."""
    db.execute("UPDATE vector_lists SET is_done = 1 WHERE id = ?", [list_id])
    db.execute("DELETE FROM vector_pieces")
    db.execute("DELETE FROM vector_lists WHERE is_done = 0")


def is_under_way(db: "Database") -> bool:
    return db.execute("SELECT 1 FROM vector_lists WHERE is_done = 0").fetchone() is not None
