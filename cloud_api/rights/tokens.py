"""Links that whoever has them may use: 32 random bytes, of which the database keeps a digest only."""

import base64
import binascii
import hashlib
import secrets

from msgspec import Struct

from shared.crypto import KEY_BYTES


class Token(Struct, frozen=True):
    secret: bytes

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.secret).digest()

    @property
    def text(self) -> str:
        return base64.urlsafe_b64encode(self.secret).rstrip(b"=").decode()

    def __repr__(self) -> str:
        return "Token(…)"


def new_token() -> Token:
    return Token(secrets.token_bytes(KEY_BYTES))


def parse_token(text: str) -> Token | None:
    """None for what we never made."""
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return Token(secret) if len(secret) == KEY_BYTES else None
