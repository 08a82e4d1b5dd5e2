"""What happened to somebody's safety, written down in the transaction in which it happened.

One sentence-less code with ids: never an address, a device's name, a token or a code.
"""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from cloud_api.db import AccountId, Connection
from cloud_api.events import Event, record

What = Literal[
    "account_opened",
    "logged_in",
    "logged_out",
    "session_revoked",
    "sessions_revoked",
    "refresh_token_reused",
    "password_changed",
    "mail_change_asked",
    "mail_changed",
    "totp_added",
    "totp_removed",
    "recovery_code_used",
    "recovery_codes_renewed",
    "passkey_added",
    "passkey_removed",
    "device_approved",
    "device_denied",
    "role_granted",
    "role_revoked",
]


class SafetyEvent(Event, frozen=True, kw_only=True):
    name: ClassVar[str] = "accounts.safety"

    what: What
    at: datetime
    session: UUID | None = None


async def note(
    connection: Connection,
    account: AccountId,
    what: What,
    *,
    now: datetime,
    session: UUID | None = None,
) -> None:
    await record(connection, SafetyEvent(account=account, what=what, at=now, session=session))
