"""Tokens: opaque ones that are kept as their hash only, and access tokens that are signed and not kept at all.

An access token is a JWT of a quarter of an hour (RFC 9068). This module must never let a token or a part of one into an error or a
log.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Literal, NewType
from uuid import UUID

from msgspec import Struct

from cloud_api.accounts.lifetimes import ACCESS_TOKEN_LIFE
from cloud_api.accounts.signed import Issuer, SignedKind, SigningKey, demand_current, sign
from cloud_api.db import AccountId
from cloud_api.http.refusals import NotAuthenticatedError

SessionId = NewType("SessionId", UUID)

TOKEN_BYTES = (
    32  # 256 bits: a plain SHA-256 of it is as good as a slow hash, there is nothing to guess
)
TOKEN_CHARS_MAX = 100
ACCESS_TOKEN_CHARS_MAX = 2048

# The beginning says what a token is for, so that one kind never passes as another and a leaked one is recognised.
Kind = Literal[
    "refresh",
    "sign_up",
    "mail_change",
    "reset",
    "second_factor",
    "passkey",
    "device",
    "factors_lost",
]

RandomBytes = Callable[[int], bytes]


class Opaque(Struct, frozen=True):
    text: str
    """Goes to the person, once."""
    digest: bytes
    """Goes into the database."""

    def __repr__(self) -> str:
        return "Opaque(…)"


class Bearer(Struct, frozen=True):
    """Who an access token speaks for."""

    account: AccountId
    session: SessionId


class Claims(Struct, frozen=True):
    """What our tokens say, as far as it is used."""

    sub: UUID
    sid: UUID
    iat: int
    exp: int


class NotLoggedInError(NotAuthenticatedError):
    code = "not_logged_in"

    def __init__(self) -> None:
        super().__init__("This needs a valid access token. Log in, or refresh the session.")


ACCESS = SignedKind(
    typ="at+jwt",  # RFC 9068 §2.1
    claims=Claims,
    life=ACCESS_TOKEN_LIFE,
    chars_max=ACCESS_TOKEN_CHARS_MAX,
    refused=NotLoggedInError,
)


def new_token(kind: Kind, random_bytes: RandomBytes = secrets.token_bytes) -> Opaque:
    text = f"sunaiva_{kind}_{_base64url(random_bytes(TOKEN_BYTES))}"
    return Opaque(text=text, digest=_digest(text))


def digest_of(kind: Kind, text: str) -> bytes | None:
    """The digest by which a presented token is looked up, or None for what no token of this kind looks like."""
    if len(text) > TOKEN_CHARS_MAX or not text.isascii() or not text.startswith(f"sunaiva_{kind}_"):
        return None
    return _digest(text)


def sign_access_token(
    key: SigningKey, issuer: Issuer, bearer: Bearer, *, token_id: str, now: datetime
) -> str:
    said = {"sub": str(bearer.account), "sid": str(bearer.session)}
    return sign(ACCESS, key, issuer, said, token_id=token_id, now=now)


def bearer_now(claims: Claims, *, now: datetime) -> Bearer:
    """
    Raises:
        NotLoggedInError: expired, or not valid yet.
    """
    demand_current(ACCESS, claims, now=now)
    return Bearer(account=AccountId(claims.sub), session=SessionId(claims.sid))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
