"""What parts above accounts may want to hear of."""

from datetime import datetime
from typing import ClassVar

from cloud_api.events import Event


class SessionOpened(Event, frozen=True, kw_only=True):
    """Somebody has proved to be this person, just now."""

    name: ClassVar[str] = "accounts.session_opened"

    at: datetime
