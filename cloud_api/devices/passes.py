"""Passes: what a device shows on sync routes, signed by the keys that sign access tokens, for one vault and one device.

Another type and another audience than an access token's, so that neither ever passes as the other. This module must never let a pass
or a part of one into an error or a log.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import jwt
import msgspec
from msgspec import Struct

from cloud_api.accounts.lifetimes import CLOCK_SKEW
from cloud_api.accounts.tokens import ALGORITHM, SigningKey
from cloud_api.db import AccountId
from cloud_api.devices.names import DeviceId, VaultId
from cloud_api.http.refusals import NotAuthenticatedError
from shared.clock import to_ms

PASS_LIFE = timedelta(minutes=15)
PASS_TYPE = "sunaiva-device+jwt"  # noqa: S105 (a type)
AUDIENCE = "sunaiva-sync"
PASS_CHARS_MAX = 1024
KNOWN_MAX = 10_000  # some 5 MB of each process

_REQUIRED = ["iss", "aud", "sub", "vault", "device", "jti", "iat", "exp"]


class Pass(Struct, frozen=True):
    """Who a pass speaks for. Whether the device still belongs to the vault, the database says, each time."""

    account: AccountId
    vault: VaultId
    device: DeviceId


class Claims(Struct, frozen=True):
    sub: UUID
    vault: UUID
    device: UUID
    iat: int
    exp: int


class DevicePassError(NotAuthenticatedError):
    code = "device_pass_needed"

    def __init__(self) -> None:
        super().__init__(
            "This needs a valid pass of a device. Answer a new challenge of this vault to get one."
        )


def issue(key: SigningKey, issuer: str, device_pass: Pass, *, token_id: str, now: datetime) -> str:
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": str(device_pass.account),
        "vault": device_pass.vault.hex,
        "device": device_pass.device.hex,
        "jti": token_id,
        "iat": _seconds(now),
        "exp": _seconds(now + PASS_LIFE),
    }
    return jwt.encode(
        claims,
        jwt.PyJWK.from_dict(dict(key.jwk), algorithm=ALGORITHM).key,
        algorithm=ALGORITHM,
        headers={"kid": key.kid, "typ": PASS_TYPE},
    )


def key_id_of(token: str) -> str:
    """The `kid` of what looks like a pass of ours. Nothing of it has been verified yet.

    Raises:
        DevicePassError: no pass looks like this.
    """
    if len(token) > PASS_CHARS_MAX:
        raise DevicePassError
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise DevicePassError from None
    kid = header.get("kid")
    is_ours = header.get("alg") == ALGORITHM and header.get("typ") == PASS_TYPE
    if not is_ours or not isinstance(kid, str):
        raise DevicePassError
    return kid


class _Known(Struct, frozen=True):
    key_id: str
    verified_with: tuple[str, str]
    """The public key and the issuer: the same pass means nothing under others."""
    claims: Claims


class KnownPasses:
    """What passes say whose signature was good, by their digests. The least recently used go first."""

    def __init__(self, most: int = KNOWN_MAX) -> None:
        self._most = most
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def key_id(self, token: str) -> str:
        """
        Raises:
            DevicePassError: no pass looks like this.
        """
        known = self._known.get(_digest(token))
        return key_id_of(token) if known is None else known.key_id

    def read(
        self, token: str, public_jwk: Mapping[str, str], issuer: str, *, now: datetime
    ) -> Pass:
        """
        Raises:
            DevicePassError: forged, altered, for something else, or over.
        """
        digest, verified_with = _digest(token), (public_jwk["x"], issuer)
        known = self._known.get(digest)
        if known is None or known.verified_with != verified_with:
            claims = _verified(token, public_jwk, issuer)
            known = self._known[digest] = _Known(public_jwk["kid"], verified_with, claims)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        self._known.move_to_end(digest)
        claims = known.claims
        if not _is_current(claims, now):
            raise DevicePassError
        return Pass(AccountId(claims.sub), VaultId(claims.vault), DeviceId(claims.device))


def _verified(token: str, public_jwk: Mapping[str, str], issuer: str) -> Claims:
    try:
        claims = jwt.decode(
            token,
            jwt.PyJWK.from_dict(dict(public_jwk), algorithm=ALGORITHM).key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=issuer,
            # The library would ask the machine for the time; ours arrives as an argument.
            options={
                "require": _REQUIRED,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "strict_aud": True,
            },
        )
        return msgspec.convert(claims, Claims)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise DevicePassError from None


def _is_current(claims: Claims, now: datetime) -> bool:
    seconds, skew = _seconds(now), int(CLOCK_SKEW.total_seconds())
    # A life longer than ours was not given by us, whatever its signature says.
    lasts = claims.exp - claims.iat <= PASS_LIFE.total_seconds()
    return claims.iat - skew <= seconds < claims.exp + skew and lasts


def _seconds(moment: datetime) -> int:
    return to_ms(moment) // 1000


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
