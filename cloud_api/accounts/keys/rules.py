"""Which key signs at a moment and which ones are published: a rotation is two instants in a row, not an event.

A new key is published before it signs, so that whoever keeps a copy of the published set has it in time; the key before
it stays published until the last token it signed has run out.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from cloud_api.accounts.lifetimes import ACCESS_TOKEN_LIFE, CLOCK_SKEW

# How long a copy of the published set may be kept (`Cache-Control: max-age`).
JWKS_KEPT = timedelta(minutes=5)
# Two of those: a copy made just before, and a slow clock.
PUBLISHED_AHEAD = timedelta(minutes=10)
KEY_LIFE = timedelta(days=90)


class KeyTimes(Struct, frozen=True):
    kid: str
    signs_from: datetime
    withdrawn_at: datetime | None
    """A key that may be in wrong hands: nothing it signed is believed from then on."""


def signing_kid(keys: Sequence[KeyTimes], now: datetime) -> str | None:
    """The newest key that signs already."""
    started = [key for key in _in_order(keys) if key.signs_from <= now]
    return started[-1].kid if started else None


def published_kids(keys: Sequence[KeyTimes], now: datetime) -> list[str]:
    ordered = _in_order(keys)
    followers = [*ordered[1:], None]
    return [
        key.kid
        for key, follower in zip(ordered, followers, strict=True)
        if follower is None or now < follower.signs_from + ACCESS_TOKEN_LIFE + CLOCK_SKEW
    ]


def is_due(keys: Sequence[KeyTimes], now: datetime) -> bool:
    """Whether the newest key has signed long enough to be followed by another."""
    ordered = _in_order(keys)
    return not ordered or now >= ordered[-1].signs_from + KEY_LIFE


def _in_order(keys: Sequence[KeyTimes]) -> list[KeyTimes]:
    valid = [key for key in keys if key.withdrawn_at is None]
    return sorted(valid, key=lambda key: (key.signs_from, key.kid))
