"""Which assistant may read or write which space. A guard against the wrong window, not against a hostile program.

A client is known by the name it gives itself, so these rules keep an honest client out of a space; whoever can start
programs as the person can also lie about the name. Without a rule a client may read and write; a rule for the space `*` holds
for every space that has none of its own.
"""

from typing import TYPE_CHECKING, Literal

from mcp_server.device import Device
from mcp_server.vault import store
from shared.errors import ForbiddenError, NotFoundError

if TYPE_CHECKING:
    from sqlite_utils import Database

Access = Literal["none", "read", "write"]
EVERY_SPACE = "*"


def readable(
    device: Device, db: "Database", client: str, asked: str | None
) -> tuple[str, ...] | None:
    """The spaces a client may read of those it asks for; None for all there are.

    Raises:
        ForbiddenError: it may not read the space it names, or none at all.
    """
    rules = _rules(db, client)
    if not rules:
        return None if asked is None else (asked,)
    if asked is not None:
        if _access(rules, asked) == "none":
            raise _refused(client, "read", asked)
        return (asked,)
    # The vault would have to read every memory for it, a third of a second at a million.
    listed = device.index.state().listed
    spaces = device.index.catalogue.spaces() if listed else store.space_names(db)
    # In order: a cursor is good for the next page of the same spaces only.
    allowed = tuple(sorted(space for space in spaces if _access(rules, space) != "none"))
    if spaces and not allowed:
        raise _refused(client, "read", EVERY_SPACE)
    return allowed


def check_write(db: "Database", client: str, space: str) -> None:
    """Raises:
    ForbiddenError: this client may not write to this space.
    """
    if _access(_rules(db, client), space) != "write":
        raise _refused(client, "write", space)


def permit(device: Device, client: str, space: str, access: Access, *, by: str) -> None:
    """Set a rule; it holds from the next call on. The log names who set it."""
    with device.vault.writing() as db:
        db.execute(
            "INSERT OR REPLACE INTO permissions (client, space, access) VALUES (?, ?, ?)",
            [client, space, access],
        )
        device.note(db, "permit", [], client=by)


def remove(device: Device, client: str, space: str, *, by: str) -> None:
    """Take a rule away, so that what holds for every space, or else the default, holds again.

    Raises:
        NotFoundError: there is no such rule.
    """
    with device.vault.writing() as db:
        found = db.execute(
            "DELETE FROM permissions WHERE client = ? AND space = ?", [client, space]
        )
        if not found.rowcount:
            raise NotFoundError(
                f"There is no rule for {client!r} in {space!r}. `sunaiva permit` lists the rules."
            )
        device.note(db, "permit", [], client=by)


def rules(db: "Database") -> list[tuple[str, str, Access]]:
    """Every rule: client, space, access."""
    return list(db.execute("SELECT client, space, access FROM permissions ORDER BY client, space"))


def _rules(db: "Database", client: str) -> dict[str, Access]:
    return dict(db.execute("SELECT space, access FROM permissions WHERE client = ?", [client]))


def _access(rules: dict[str, Access], space: str) -> Access:
    return rules.get(space, rules.get(EVERY_SPACE, "write"))


def _refused(client: str, wanted: Literal["read", "write"], space: str) -> ForbiddenError:
    where = "anything" if space == EVERY_SPACE else repr(space)
    return ForbiddenError(
        f"{client} may not {'read' if wanted == 'read' else 'write to'} {where} here. "
        f"The person can allow it with `sunaiva permit {client!r} {space!r} {wanted}`."
    )
