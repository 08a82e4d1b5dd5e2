"""Signed tokens of ours: JWTs that whoever verifies them needs the published keys for, and no database.

There are several kinds, told apart by type and audience so that none ever passes as another. The algorithm is pinned here; what a
token's header says about it is compared and never obeyed. This module must never let a token or a part of one into an error or a log.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

import jwt
import msgspec
from msgspec import Struct

from cloud_api.accounts.lifetimes import CLOCK_SKEW
from cloud_api.http.refusals import NotAuthenticatedError
from shared.clock import to_ms

ALGORITHM = "EdDSA"
# Some 5 MB of each process, for each kind.
KNOWN_MAX = 10_000


class Timed(Protocol):
    """When a token was given, and when it ends: seconds since 1970."""

    @property
    def iat(self) -> int: ...
    @property
    def exp(self) -> int: ...


C = TypeVar("C", bound=Timed)


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


class SignedKind(Struct, Generic[C], frozen=True, kw_only=True):
    typ: str
    """In the header (RFC 8725 §3.11)."""
    claims: type[C]
    """What a token of it says, as far as it is used; each is required."""
    life: timedelta
    chars_max: int
    refused: type[NotAuthenticatedError]
    """Raised for whatever is not exactly a token of this kind."""


def sign(
    kind: SignedKind[C],
    key: SigningKey,
    issuer: Issuer,
    said: Mapping[str, str],
    *,
    token_id: str,
    now: datetime,
) -> str:
    claims = {
        "iss": issuer.issuer,
        "aud": issuer.audience,
        **said,
        "jti": token_id,
        "iat": _seconds(now),
        "exp": _seconds(now + kind.life),
    }
    return jwt.encode(
        claims,
        key_of(key.jwk).key,
        algorithm=ALGORITHM,
        headers={"kid": key.kid, "typ": kind.typ},
    )


def key_id_of(kind: SignedKind[C], token: str) -> str:
    """The `kid` of a token that looks like one of this kind. Nothing of it has been verified yet.

    Raises:
        NotAuthenticatedError: the kind's own: none looks like this.
    """
    if len(token) > kind.chars_max:
        raise kind.refused
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise kind.refused from None
    kid = header.get("kid")
    is_ours = header.get("alg") == ALGORITHM and header.get("typ") == kind.typ
    if not is_ours or not isinstance(kid, str):
        raise kind.refused
    return kid


def key_of(jwk: Mapping[str, str]) -> jwt.PyJWK:
    return jwt.PyJWK.from_dict(dict(jwk), algorithm=ALGORITHM)


def claims_of(kind: SignedKind[C], token: str, key: jwt.PyJWK, issuer: Issuer) -> C:
    """What a token says that we signed; true of it for ever, so that it may be kept. Whether its time has come, or is over, is
    for `demand_current`.

    Raises:
        NotAuthenticatedError: the kind's own: forged, altered, made for something else, or by somebody else.
    """
    try:
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[ALGORITHM],
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["iss", "aud", "jti", *kind.claims.__annotations__],
                # The library would ask the machine for the time; ours arrives as an argument.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "strict_aud": True,
            },
        )
        return msgspec.convert(claims, kind.claims)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise kind.refused from None


def demand_current(kind: SignedKind[C], claims: C, *, now: datetime) -> None:
    """
    Raises:
        NotAuthenticatedError: the kind's own: expired, or not valid yet.
    """
    seconds, skew = _seconds(now), int(CLOCK_SKEW.total_seconds())
    # A life longer than ours was not given by us, whatever its signature says.
    lasts = claims.exp - claims.iat <= kind.life.total_seconds()
    if not (claims.iat - skew <= seconds < claims.exp + skew and lasts):
        raise kind.refused


class _Verified(Struct, Generic[C], frozen=True):
    """A token whose signature was good. Under another key or issuer it means nothing."""

    kid: str
    key: str
    issuer: Issuer
    claims: C


class Known(Generic[C]):
    """What tokens of a kind say whose signature was good: to check one again costs as much as a question to the database. The least
    recently used go first. Their digests are kept, never they themselves.
    """

    def __init__(self, kind: SignedKind[C], most: int = KNOWN_MAX) -> None:
        self._kind = kind
        self._most = most
        self._verified: OrderedDict[bytes, _Verified[C]] = OrderedDict()
        self._keys: dict[str, jwt.PyJWK] = {}

    def key_id(self, token: str) -> str:
        """
        Raises:
            NotAuthenticatedError: the kind's own: no token of it looks like this.
        """
        verified = self._verified.get(_digest(token))
        return key_id_of(self._kind, token) if verified is None else verified.kid

    def claims(self, token: str, public_jwk: Mapping[str, str], issuer: Issuer) -> C:
        """
        Raises:
            NotAuthenticatedError: the kind's own: forged, altered, made for something else, or by somebody else.
        """
        digest = _digest(token)
        verified = self._verified.get(digest)
        if verified is None or (verified.key, verified.issuer) != (public_jwk["x"], issuer):
            claims = claims_of(self._kind, token, self._key(public_jwk), issuer)
            verified = _Verified(public_jwk["kid"], public_jwk["x"], issuer, claims)
            self._verified[digest] = verified
            if len(self._verified) > self._most:
                self._verified.popitem(last=False)
        self._verified.move_to_end(digest)
        return verified.claims

    def _key(self, public_jwk: Mapping[str, str]) -> jwt.PyJWK:
        # Kept, because the library works on a new one for as long as half a signature takes.
        if public_jwk["x"] not in self._keys:
            self._keys = {public_jwk["x"]: key_of(public_jwk)}
        return self._keys[public_jwk["x"]]


def _seconds(moment: datetime) -> int:
    return to_ms(moment) // 1000


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
