"""Passes: what a device shows on sync routes, signed by the keys that sign access tokens, for one vault and one device.

Another type and another audience than an access token's, so that neither ever passes as the other. This module must never let a pass
or a part of one into an error or a log.
"""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from cloud_api.accounts.signed import Issuer, SignedKind, SigningKey, demand_current, sign
from cloud_api.db import AccountId
from cloud_api.devices.names import DeviceId, VaultId
from cloud_api.http.refusals import NotAuthenticatedError

PASS_LIFE = timedelta(minutes=15)
AUDIENCE = "sunaiva-sync"
PASS_CHARS_MAX = 1024


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


PASS = SignedKind(
    typ="sunaiva-device+jwt",
    claims=Claims,
    life=PASS_LIFE,
    chars_max=PASS_CHARS_MAX,
    refused=DevicePassError,
)


def issuer_of(public_url: str) -> Issuer:
    return Issuer(public_url, AUDIENCE)


def issue(
    key: SigningKey, issuer: Issuer, device_pass: Pass, *, token_id: str, now: datetime
) -> str:
    said = {
        "sub": str(device_pass.account),
        "vault": device_pass.vault.hex,
        "device": device_pass.device.hex,
    }
    return sign(PASS, key, issuer, said, token_id=token_id, now=now)


def pass_now(claims: Claims, *, now: datetime) -> Pass:
    """
    Raises:
        DevicePassError: expired, or not valid yet.
    """
    demand_current(PASS, claims, now=now)
    return Pass(AccountId(claims.sub), VaultId(claims.vault), DeviceId(claims.device))
