"""Codes by which two devices find each other: typed, scanned or handed to a device without a person; and for how long they are good.

A mailbox that nobody looks into is found by any mistyped code, so a code that is typed tells by itself whether it is one.
"""

import base64
import binascii
import hashlib

from msgspec import Struct
from msgspec.structs import replace

from shared.errors import ForbiddenError, InvalidError
from sync_service.changes.ops import HASH_BYTES, ID_BYTES

SECRET_BYTES = 16
CODE_CHARS = 28
TRIES_MAX = 3
CODE_MS_MAX = 10 * 60 * 1000

_MAILBOX = b"sunaiva/mailbox/1"
_PREFIX = "SUNAIVA:1:"
_GROUP_CHARS = 4
_CHECK_CHARS = 2
# The greatest prime below 32²: so a wrong letter, and two that have changed places, always show.
_CHECK_PRIME = 1021
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_MISREAD = str.maketrans("018", "OIB")


class ExpiredCodeError(ForbiddenError):
    """The one-time code is used up: too late, or tried too often."""

    code = "expired_code"


class Invitation(Struct, frozen=True, kw_only=True):
    """A one-time code as the device keeps it that gave it out."""

    secret: bytes
    until_ms: int
    tries_left: int = TRIES_MAX


def code_of(secret: bytes) -> str:
    """For typing: 28 letters and digits in groups, the last two to check the others. It is the one-time code, and the interactive
    pairing's address."""
    assert len(secret) == SECRET_BYTES
    letters = _base32(secret) + _check(secret)
    return "-".join(letters[at : at + _GROUP_CHARS] for at in range(0, len(letters), _GROUP_CHARS))


def qr_text(secret: bytes, commitment: bytes) -> str:
    """For the camera: the address and what the newcomer committed itself to, so that nobody else can answer in its place."""
    return _PREFIX + _base32(secret + commitment)


def read_code(typed: str) -> tuple[bytes, bytes | None]:
    """The secret of a code, and the commitment if it was a QR text. Case, spaces, dashes and 0 for O are forgiven.

    Raises:
        InvalidError
    """
    text = typed.strip().upper().removeprefix(_PREFIX)
    letters = "".join(text.split()).replace("-", "").translate(_MISREAD)
    if len(letters) == CODE_CHARS:
        secret = _decoded(letters[:-_CHECK_CHARS])
        if len(secret) == SECRET_BYTES and letters[-_CHECK_CHARS:] == _check(secret):
            return secret, None
        raise InvalidError(
            "This code is mistyped: a character is wrong, or two have changed places. Compare it with the one that is shown."
        )
    raw = _decoded(letters)
    if len(raw) == SECRET_BYTES:  # as an earlier Sunaiva shows it
        return raw, None
    if len(raw) == SECRET_BYTES + HASH_BYTES:
        return raw[:SECRET_BYTES], raw[SECRET_BYTES:]
    raise InvalidError(
        f"This is no pairing code: a code has {CODE_CHARS} letters and digits, and {len(letters)} were given. Compare it with the one "
        "that is shown."
    )


def mailbox_of(secret: bytes, *, attempt: int = 0) -> bytes:
    """Where both sides meet. The server learns this, and from it nothing of the secret."""
    return hashlib.sha256(_MAILBOX + secret + bytes([attempt])).digest()[:ID_BYTES]


def invite(secret: bytes, now_ms: int) -> Invitation:
    return Invitation(secret=secret, until_ms=now_ms + CODE_MS_MAX)


def tried(invitation: Invitation) -> Invitation:
    """The invitation after somebody came with another code. The next try is in the next mailbox."""
    return replace(invitation, tries_left=invitation.tries_left - 1)


def demand_open(invitation: Invitation, now_ms: int) -> None:
    """
    Raises:
        ExpiredCodeError
    """
    if invitation.tries_left < 1 or now_ms >= invitation.until_ms:
        raise ExpiredCodeError(
            f"The code is used up: it is good for {CODE_MS_MAX // 60_000} minutes and {TRIES_MAX} tries. Make a new one."
        )


def attempt_of(invitation: Invitation) -> int:
    return TRIES_MAX - invitation.tries_left


def _check(secret: bytes) -> str:
    high, low = divmod(int.from_bytes(secret, "big") % _CHECK_PRIME, len(_LETTERS))
    return _LETTERS[high] + _LETTERS[low]


def _decoded(letters: str) -> bytes:
    """What these letters were made of; nothing if nothing is written so."""
    try:
        raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        return b""
    return raw if _base32(raw) == letters else b""


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=")
