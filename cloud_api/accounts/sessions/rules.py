"""What becomes of a refresh token that is presented: the whole life of a session, decided without a database.

A session is a family of refresh tokens, each the successor of one. A token is used once; one that comes back was either
sent twice by a client that did not hear the answer, or is in two hands, and then nobody can say whose are the wrong ones.
"""

from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

REFRESH_TOKEN_LIFE = timedelta(days=7)
# A device that is used every week stays logged in, but not for ever: once a year it asks for the password.
SESSION_LIFE_MAX = timedelta(days=365)
# A client that lost the answer asks again within its own time-out. Within it, the same successor is given again, as long
# as nobody has used that: no second branch of the family ever exists, so that a thief who comes within these seconds
# is found out at the next rotation.
REPEAT_WINDOW = timedelta(seconds=30)

# RFC 9470, and what a person still remembers having done.
STEP_UP_LIFE = timedelta(minutes=10)
# NIST SP 800-63B-4 §2.2.3: at AAL2 the second factor is asked for again after half a day of work.
STAFF_FACTOR_LIFE = timedelta(hours=12)

EndedWhy = Literal["logout", "revoked", "reuse", "expired", "password", "staff"]


class Family(Struct, frozen=True):
    """The session as far as a refresh needs it."""

    started_at: datetime
    ended_at: datetime | None


class Presented(Struct, frozen=True):
    issued_at: datetime
    used_at: datetime | None
    successor_used: bool


class Rotate(Struct, frozen=True):
    expires_at: datetime


class Repeat(Struct, frozen=True):
    """The client asks again what it was answered already."""


class Reuse(Struct, frozen=True):
    """The token was spent: end the family."""


class Over(Struct, frozen=True):
    """The session has ended or the token has run out: log in again."""


Verdict = Rotate | Repeat | Reuse | Over


def on_refresh(family: Family, token: Presented, now: datetime) -> Verdict:
    if family.ended_at is not None:
        return Over()
    if token.used_at is not None:
        # Also after its expiry: a spent token tells of a theft at any time.
        repeated = not token.successor_used and now - token.used_at <= REPEAT_WINDOW
        return Repeat() if repeated else Reuse()
    if now >= token.issued_at + REFRESH_TOKEN_LIFE or now >= family.started_at + SESSION_LIFE_MAX:
        return Over()
    return Rotate(expires_at=expiry(family.started_at, now))


def expiry(started_at: datetime, now: datetime) -> datetime:
    """When a refresh token given now runs out."""
    return min(now + REFRESH_TOKEN_LIFE, started_at + SESSION_LIFE_MAX)
