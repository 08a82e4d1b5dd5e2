"""How a device is let in, and the messages of two devices that pair, over HTTP."""

import re
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from cloud_api.accounts.guards import requires
from cloud_api.devices import actions, rules
from cloud_api.devices.actions import Devices
from cloud_api.devices.names import DeviceId, VaultId
from cloud_api.devices.passes import PASS_LIFE
from cloud_api.http.caller import known_account
from cloud_api.http.octets import OCTETS, TakesOctets, octets
from cloud_api.http.rate_limits import RateLimit
from cloud_api.http.refusals import InvalidFieldError
from cloud_api.http.refusing import refusals

# A device asks once in a quarter of an hour; a household behind one address has dozens of them.
LOG_INS = RateLimit(name="device-log-ins", requests=120, seconds=60, by_address=True)

Base64 = Annotated[bytes, Meta(max_length=128, description="Base64")]


_SLOT = re.compile(r"[a-z0-9-]{1,20}", re.ASCII)


class ChallengeAnswer(Struct, frozen=True):
    nonce: bytes
    expires_in: int


class LogIn(Struct, frozen=True, forbid_unknown_fields=True):
    device: UUID
    nonce: Base64
    signature: Base64


class PassAnswer(Struct, frozen=True, kw_only=True):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 (RFC 6749 §5.1)
    expires_in: int = int(PASS_LIFE.total_seconds())


@post(
    "/api/v1/vaults/{vault:uuid}/challenge",
    operation_id="askForChallenge",
    summary="A number to sign, good once and for a minute",
    tags=["sync"],
    status_code=200,
    opt={"rate": LOG_INS},
)
async def ask_for_challenge(
    vault: FromPath[UUID], devices: NamedDependency[Devices]
) -> ChallengeAnswer:
    nonce = actions.challenge(devices, VaultId(vault))
    return ChallengeAnswer(nonce, int(rules.CHALLENGE_LIFE.total_seconds()))


@post(
    "/api/v1/vaults/{vault:uuid}/token",
    operation_id="letDeviceIn",
    summary="A pass for sync routes, by a signature of the device's own key",
    description="The signature is over the statement that docs/relay.md gives: it names this server, the vault, the device and the nonce.",
    tags=["sync"],
    status_code=200,
    opt={"rate": LOG_INS},
    responses=refusals(401, 410),
)
async def let_device_in(
    vault: FromPath[UUID], data: JSONBody[LogIn], devices: NamedDependency[Devices]
) -> PassAnswer:
    token = await actions.let_in(
        devices,
        VaultId(vault),
        DeviceId(data.device),
        nonce=data.nonce,
        signature=data.signature,
    )
    return PassAnswer(access_token=token)


@put(
    "/api/v1/mailboxes/{name:uuid}/{slot:str}",
    operation_id="putMessage",
    summary="Leave a message for the device that is being paired",
    tags=["sync"],
    status_code=204,
    guards=[requires("account.own")],
    operation_class=TakesOctets,
    request_max_body_size=rules.MESSAGE_BYTES_MAX,
    responses=refusals(409, 413, 415),
)
async def put_message(
    request: Request[Any, Any, Any],
    name: FromPath[UUID],
    slot: FromPath[str],
    devices: NamedDependency[Devices],
) -> None:
    account = known_account(request.scope)
    message = await octets(request)
    await actions.put_message(devices, account, name=name, slot=_slot(slot), message=message)


@get(
    "/api/v1/mailboxes/{name:uuid}/{slot:str}",
    operation_id="readMessage",
    summary="Read the message that the other device left",
    tags=["sync"],
    media_type=OCTETS,
    guards=[requires("account.own")],
)
async def read_message(
    request: Request[Any, Any, Any],
    name: FromPath[UUID],
    slot: FromPath[str],
    devices: NamedDependency[Devices],
) -> Response[bytes]:
    account = known_account(request.scope)
    found = await actions.read_message(devices, account, name=name, slot=_slot(slot))
    return Response(found, media_type=OCTETS)


def _slot(slot: str) -> str:
    if not _SLOT.fullmatch(slot):
        raise InvalidFieldError(
            "slot", "A slot has up to 20 small letters, digits and hyphens as its name."
        )
    return slot


DEVICE_ROUTES = (ask_for_challenge, let_device_in, put_message, read_message)
