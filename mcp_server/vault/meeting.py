"""Where this vault meets its other devices: at a cloud, or in a folder. One row in the vault, and none before the person asks for it.

The refresh token is a secret that is worth a device's session at the cloud and no memory; it is kept here because the vault is the
one place on the device that is encrypted.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from shared.clock import from_ms, to_ms

if TYPE_CHECKING:
    from sqlite_utils import Database

Kind = Literal["cloud", "folder"]

SCHEMA = """
    CREATE TABLE sync_meeting (
        number INTEGER PRIMARY KEY CHECK (number = 1),
        kind TEXT NOT NULL CHECK (kind IN ('cloud', 'folder')),
        -- an address or a path
        place TEXT NOT NULL,
        -- of the account's session at a cloud, which only pairing and new vaults need; NULL once it is over
        refresh_token TEXT,
        since_ms INTEGER NOT NULL,
        -- what the loop has done since then
        synced_ms INTEGER,
        sent_batches INTEGER NOT NULL DEFAULT 0,
        sent_bytes INTEGER NOT NULL DEFAULT 0,
        received_batches INTEGER NOT NULL DEFAULT 0,
        received_bytes INTEGER NOT NULL DEFAULT 0,
        CHECK (kind = 'cloud' OR refresh_token IS NULL)
    ) STRICT;
"""


class Meeting(Struct, frozen=True, kw_only=True):
    kind: Kind
    place: str
    logged_in: bool
    since: datetime


class Amount(Struct):
    """What went one way."""

    batches: int = 0
    size_bytes: int = 0


class Traffic(Struct, frozen=True, kw_only=True):
    """All that went with this place."""

    synced_at: datetime | None = None
    sent_batches: int = 0
    sent_bytes: int = 0
    received_batches: int = 0
    received_bytes: int = 0


def read(db: "Database") -> Meeting | None:
    found = db.execute(
        "SELECT kind, place, refresh_token IS NOT NULL, since_ms FROM sync_meeting"
    ).fetchone()
    if found is None:
        return None
    kind, place, logged_in, since_ms = found
    return Meeting(kind=kind, place=place, logged_in=bool(logged_in), since=from_ms(since_ms))


def make(
    db: "Database", kind: Kind, place: str, *, refresh_token: str | None, now: datetime
) -> None:
    """Sync there from now on; with the same place as before, what was counted stays."""
    db.execute("DELETE FROM sync_meeting WHERE kind <> ? OR place <> ?", [kind, place])
    db.execute(
        """INSERT INTO sync_meeting (number, kind, place, refresh_token, since_ms) VALUES (1, ?, ?, ?, ?)
           ON CONFLICT (number) DO UPDATE SET refresh_token = excluded.refresh_token, since_ms = excluded.since_ms""",
        [kind, place, refresh_token, to_ms(now)],
    )


def call(db: "Database", name: str) -> None:
    """What this device is to be called once it has joined."""
    db.execute("UPDATE sync_meeting SET name = ?", [name])


def called(db: "Database") -> str | None:
    found = db.execute("SELECT name FROM sync_meeting").fetchone()
    return None if found is None else found[0]


def refresh_token(db: "Database") -> str | None:
    found = db.execute("SELECT refresh_token FROM sync_meeting").fetchone()
    return None if found is None else found[0]


def remove(db: "Database") -> None:
    db.execute("DELETE FROM sync_meeting")


def keep_token(db: "Database", token: str | None) -> None:
    db.execute("UPDATE sync_meeting SET refresh_token = ? WHERE kind = 'cloud'", [token])


def count(db: "Database", *, now: datetime, sent: Amount, received: Amount) -> None:
    """Add to what went there and back."""
    db.execute(
        """UPDATE sync_meeting SET synced_ms = ?, sent_batches = sent_batches + ?, sent_bytes = sent_bytes + ?,
               received_batches = received_batches + ?, received_bytes = received_bytes + ?""",
        [to_ms(now), sent.batches, sent.size_bytes, received.batches, received.size_bytes],
    )


def traffic(db: "Database") -> Traffic:
    found = db.execute(
        "SELECT synced_ms, sent_batches, sent_bytes, received_batches, received_bytes FROM sync_meeting"
    ).fetchone()
    if found is None:
        return Traffic()
    synced_ms, *counted = found
    names = ("sent_batches", "sent_bytes", "received_batches", "received_bytes")
    return Traffic(
        synced_at=None if synced_ms is None else from_ms(synced_ms),
        **dict(zip(names, counted, strict=True)),
    )
