"""Challenges that need no memory, and the terms of pairing. Pure.

A challenge is a time under a seal of ours: whoever asks for many of them costs us nothing. That it was used is written down only when
somebody has answered it with the right key.
"""

from datetime import datetime, timedelta

from shared import crypto
from shared.clock import to_ms

CHALLENGE_LIFE = timedelta(seconds=60)
MAILBOX_LIFE = timedelta(minutes=15)
# The largest message of pairing: an epoch key sealed to a new device, with the heads of a thousand streams at most.
MESSAGE_BYTES_MAX = 64 * 1024
MESSAGES_MAX = 64  # of one account at a time: some ten pairings within a quarter of an hour

_RANDOM_BYTES = 16
_TIME_BYTES = 8
_MAC_BYTES = 32
CHALLENGE_BYTES = _RANDOM_BYTES + _TIME_BYTES + _MAC_BYTES


def new_challenge(key: bytes, vault: bytes, *, random: bytes, now: datetime) -> bytes:
    assert len(random) == _RANDOM_BYTES
    said = random + to_ms(now + CHALLENGE_LIFE).to_bytes(_TIME_BYTES, "big")
    return said + crypto.mac(key, vault + said)


def challenge_runs_out(
    key: bytes, vault: bytes, challenge: bytes, *, now: datetime
) -> datetime | None:
    """When it will be over; None for one that is over, or that we never gave for this vault."""
    if len(challenge) != CHALLENGE_BYTES:
        return None
    said, tag = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
    if not crypto.equal(tag, crypto.mac(key, vault + said)):
        return None
    left_ms = int.from_bytes(said[_RANDOM_BYTES:], "big") - to_ms(now)
    # Longer than we give: the clock was put back, and it could be used again after its mark is forgotten.
    if not 0 < left_ms <= CHALLENGE_LIFE.total_seconds() * 1000:
        return None
    return now + timedelta(milliseconds=left_ms)
