"""Tokens: opaque ones that are kept as their hash only, and access tokens that are signed and not kept at all.

An access token is a JWT of a quarter of an hour (RFC 9068): whoever verifies it needs the published keys and no
database. The algorithm is pinned here; what a token's header says about it is compared and never obeyed. This module
must never let a token or a part of one into an error or a log.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, NewType
from uuid import UUID

import jwt
import msgspec
from msgspec import Struct

from cloud_api.accounts.lifetimes import ACCESS_TOKEN_LIFE, CLOCK_SKEW
from cloud_api.db import AccountId
from cloud_api.http.refusals import NotAuthenticatedError
from shared.clock import to_ms

SessionId = NewType("SessionId", UUID)

ALGORITHM = "EdDSA"
TOKEN_TYPE = "at+jwt"  # noqa: S105 (RFC 9068 §2.1: keeps any other JWT of ours from passing as an access token)

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


class Issuer(Struct, frozen=True):
    """Who signs, and for whom: a token of a staging server is none in production."""

    issuer: str
    audience: str


class SigningKey(Struct, frozen=True):
    kid: str
    jwk: Mapping[str, str]
    """With the private part `d`."""

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"


class NotLoggedInError(NotAuthenticatedError):
    code = "not_logged_in"

    def __init__(self) -> None:
        super().__init__("This needs a valid access token. Log in, or refresh the session.")


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
    claims = {
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "sub": str(bearer.account),
        "sid": str(bearer.session),
        "jti": token_id,
        "iat": _seconds(now),
        "exp": _seconds(now + ACCESS_TOKEN_LIFE),
    }
    return jwt.encode(
        claims,
        jwt.PyJWK.from_dict(dict(key.jwk), algorithm=ALGORITHM).key,
        algorithm=ALGORITHM,
        headers={"kid": key.kid, "typ": TOKEN_TYPE},
    )


def key_id_of(token: str) -> str:
    """The `kid` of a token that looks like one of ours. Nothing of it has been verified yet.

    Raises:
        NotLoggedInError: no access token looks like this.
    """
    if len(token) > ACCESS_TOKEN_CHARS_MAX:
        raise NotLoggedInError
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise NotLoggedInError from None
    kid = header.get("kid")
    if (
        header.get("alg") != ALGORITHM
        or header.get("typ") != TOKEN_TYPE
        or not isinstance(kid, str)
    ):
        raise NotLoggedInError
    return kid


def verification_key(public_jwk: Mapping[str, str]) -> jwt.PyJWK:
    return jwt.PyJWK.from_dict(dict(public_jwk), algorithm=ALGORITHM)


def claims_of(token: str, key: jwt.PyJWK, issuer: Issuer) -> Claims:
    """What a token says that we signed; true of it for ever, so that it may be kept. Whether its time has come, or is over, is
    for `bearer_now`.

    Raises:
        NotLoggedInError: forged, altered, made for somebody else, or by somebody else.
    """
    try:
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[ALGORITHM],
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["iss", "aud", "sub", "sid", "jti", "iat", "exp"],
                # The library would ask the machine for the time; ours arrives as an argument.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "strict_aud": True,
            },
        )
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise NotLoggedInError from None
    try:
        return msgspec.convert(claims, Claims)
    except msgspec.ValidationError:
        raise NotLoggedInError from None


def bearer_now(claims: Claims, *, now: datetime) -> Bearer:
    """
    Raises:
        NotLoggedInError: expired, or not valid yet.
    """
    if not _is_current(claims, now):
        raise NotLoggedInError
    return Bearer(account=AccountId(claims.sub), session=SessionId(claims.sid))


def _is_current(claims: Claims, now: datetime) -> bool:
    seconds, skew = _seconds(now), int(CLOCK_SKEW.total_seconds())
    # A life longer than ours was not given by us, whatever its signature says.
    lasts = claims.exp - claims.iat <= ACCESS_TOKEN_LIFE.total_seconds()
    return claims.iat - skew <= seconds < claims.exp + skew and lasts


def _seconds(moment: datetime) -> int:
    return to_ms(moment) // 1000


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
