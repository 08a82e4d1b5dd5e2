"""The secret that a rekey must not change: the chain of the access log hangs on it, and knowing a text again.

Random, made when the vault is first opened, and kept in it, sealed under the root key: who can only read the file cannot
forge a line of the log. During a rekey it is there twice, under both roots, so that it opens whichever of the two the file
ends up with.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from shared import crypto
from shared.errors import CorruptError, ForbiddenError

if TYPE_CHECKING:
    from sqlite_utils import Database

_PURPOSE = "lasting"


def secret(db: "Database", root: bytes) -> bytes:
    """The vault's lasting secret; what is sealed under another root is of a rekey that is over, and removed.

    Raises:
        CorruptError: this root does not open it.
    """
    kept = [sealed for (sealed,) in db.execute("SELECT sealed FROM lasting").fetchall()]
    for sealed in kept:
        with suppress(ForbiddenError):
            found = crypto.open_sealed(_key(root), sealed, bound_to=_PURPOSE.encode())
            db.execute("DELETE FROM lasting WHERE sealed <> ?", [sealed])
            return found
    if kept:
        raise CorruptError(
            "The vault's own secret does not open with its key. Put a backup back with `sunaiva restore BACKUP`."
        )
    found = crypto.random_key()
    _keep(db, root, found)
    return found


def hand_over(db: "Database", root: bytes, next_root: bytes) -> None:
    """Make the secret open with the next root, too."""
    _keep(db, next_root, secret(db, root))


def _keep(db: "Database", root: bytes, found: bytes) -> None:
    sealed = crypto.seal(_key(root), found, bound_to=_PURPOSE.encode())
    db.execute("INSERT INTO lasting (sealed) VALUES (?)", [sealed])


def _key(root: bytes) -> bytes:
    return crypto.derive(root, _PURPOSE)
