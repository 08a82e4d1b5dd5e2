"""What happened to the safety of an account, written into the audit log in the transaction in which it happened.

Codes and ids only: never an address, a device's name, a token or a code.
"""

from uuid import UUID

from cloud_api.audit import actions as audit
from cloud_api.audit.rules import Actor, Entry, Value
from cloud_api.db import AccountId, Connection


async def note(
    connection: Connection,
    account: AccountId,
    action: str,
    *,
    session: UUID | None = None,
    role: str | None = None,
    actor: Actor = "person",
) -> None:
    named = {"session": None if session is None else str(session), "role": role}
    detail: dict[str, Value] = {name: value for name, value in named.items() if value is not None}
    await audit.note(connection, Entry(action=action, account=account, actor=actor, detail=detail))
