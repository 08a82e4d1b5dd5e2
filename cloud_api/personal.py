"""How a part of the cloud declares its tables that hold something of a person, so that export and deletion miss none.

A declaration names every column: the ones a person gets, and the ones they do not, with the reason. A new column that nobody
declared fails a test, and so does a new table.
"""

from typing import Literal

from msgspec import Struct

Deletion = Literal["deleted", "with_account", "expires", "kept"]
"""`deleted`: by the account's deletion. `with_account`: by a foreign key to it. `expires`: by retention, soon and by itself.
`kept`: by law or for everybody's safety, and then nothing in it says whose it was."""


class PersonalTable(Struct, frozen=True, kw_only=True):
    name: str
    shown: tuple[str, ...] = ()
    """Columns that a person gets in an export, in this order."""
    documents: tuple[str, ...] = ()
    """Those of them that hold JSON in a column of text: an export has it as it is, and not as a text."""
    withheld: dict[str, str] = {}
    """Columns that a person does not get, and why."""
    whose: str = "account_id = %(account)s"
    """Which rows are the account's: a condition of ours, in which only the account is a value."""
    deletion: Deletion
    blob: str | None = None
    """The column that names a file of the row's in the store for files. Deletion removes it too."""
    why: str | None = None
    """The code under which the receipt says why rows are kept; for `kept`, and only there."""


SECRET = "proves who you are; nobody needs it outside"  # noqa: S105 (a reason, no secret)
INTERNAL = "says nothing about you: it orders our own work"
