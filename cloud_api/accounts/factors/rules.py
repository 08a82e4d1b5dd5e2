"""Second factors that are typed: codes of an authenticator app, and the recovery codes for the day it is lost.

A code is good once. This module must never say how nearly a code was right.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime

import pyotp

from shared import crypto
from shared.clock import to_ms
from shared.errors import ForbiddenError

TOTP_SECRET_BYTES = 20  # RFC 4226 §4 R6: 160 bits recommended
TOTP_STEP_SECONDS = 30
TOTP_DIGITS = 6
# RFC 6238 §5.2: one step for a phone whose clock is off and for the time it takes to type.
STEPS_AROUND = 1

RECOVERY_CODES = 10
RECOVERY_CODE_BYTES = (
    10  # 80 bits: beyond guessing, so that a plain hash is enough; 16 characters to write down
)
CODE_CHARS_MAX = 40


class WrongCodeError(ForbiddenError):
    code = "wrong_code"

    def __init__(self) -> None:
        super().__init__(
            "This code is wrong, was used already or has run out. Wait for the next one, or use a recovery code."
        )


def new_totp_secret(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    return base64.b32encode(random_bytes(TOTP_SECRET_BYTES)).decode()


def totp_uri(secret: str, mail: str) -> str:
    """What an authenticator app reads from a QR code."""
    return pyotp.TOTP(secret, digits=TOTP_DIGITS, interval=TOTP_STEP_SECONDS).provisioning_uri(
        name=mail, issuer_name="Sunaiva"
    )


def totp_step(secret: str, code: str, *, now: datetime, last_step: int | None) -> int | None:
    """The step of time that the code belongs to, or None when it is wrong, run out, or not newer than the last one used."""
    typed = code.replace(" ", "")
    if len(typed) != TOTP_DIGITS or not (typed.isascii() and typed.isdigit()):
        return None
    totp = pyotp.TOTP(secret, digits=TOTP_DIGITS, interval=TOTP_STEP_SECONDS)
    present = to_ms(now) // 1000 // TOTP_STEP_SECONDS
    found: int | None = None
    for step in range(present - STEPS_AROUND, present + STEPS_AROUND + 1):
        # All are compared, so that the time taken does not tell which was near.
        fits = crypto.equal(totp.generate_otp(step).encode(), typed.encode())
        if fits and (last_step is None or step > last_step):
            found = step
    return found


def new_recovery_codes(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> list[str]:
    return [_grouped(random_bytes(RECOVERY_CODE_BYTES)) for _ in range(RECOVERY_CODES)]


def recovery_digest(code: str) -> bytes:
    """The hash that is kept: the same for a code typed in small letters, or without its dashes."""
    return hashlib.sha256(code.replace("-", "").replace(" ", "").upper().encode()).digest()


def _grouped(raw: bytes) -> str:
    letters = base64.b32encode(raw).decode()
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))
