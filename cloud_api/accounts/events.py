"""What parts above accounts may want to hear of."""

from datetime import datetime
from typing import ClassVar

from cloud_api.events import Event


class SessionOpened(Event, frozen=True, kw_only=True):
    """Somebody has proved to be this person, just now."""

    name: ClassVar[str] = "accounts.session_opened"

    at: datetime


class AccountOpened(Event, frozen=True, kw_only=True):
    """Somebody has answered the mail of their sign-up. The versions are of the texts that they agreed to when they asked."""

    name: ClassVar[str] = "accounts.account_opened"

    agreed_at: datetime
    terms: str | None
    privacy: str | None
