"""Vaults: made, listed, looked at, deleted; and their device lists."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from cloud_api.accounts.guards import requires, step_up
from cloud_api.db import AccountId
from cloud_api.devices.authentication import by_device, by_device_or_person, pass_of
from cloud_api.devices.names import VaultId
from cloud_api.devices.passes import Pass
from cloud_api.http.caller import known_account
from cloud_api.http.octets import OCTETS, TakesOctets, octets
from cloud_api.http.refusing import refusals
from cloud_api.sync import control, rules, vaults
from cloud_api.sync.relay import Relay
from cloud_api.sync.rules import SENTENCES, No
from cloud_api.sync.wire import VaultAnswer, lengths_and, own_pass, vault_answer
from shared.clock import to_ms

_SEQ_MAX = 2**31 - 1


class Founding(Struct, frozen=True, forbid_unknown_fields=True):
    """The beginning of a device list: the entry that founds the vault, and those that admit its first device."""

    entries: Annotated[
        list[bytes], Meta(min_length=1, max_length=rules.ENTRIES_AT_ONCE_MAX, description="Base64")
    ]


class StandingAnswer(Struct, frozen=True, kw_only=True):
    vault: VaultAnswer
    may_push: bool
    reason: str | None
    """Why not: a code."""
    sentence: str | None
    server_time_ms: int


class ControlAnswer(Struct, frozen=True):
    control_seq: int


@post(
    "/api/v1/vaults",
    operation_id="createVault",
    summary="Set a vault up by the beginning of its device list; again, it is the same vault",
    tags=["sync"],
    guards=[requires("account.own")],
    responses=refusals(401, 403, 409, 410),
)
async def create_vault(
    request: Request[Any, Any, Any], data: JSONBody[Founding], relay: NamedDependency[Relay]
) -> VaultAnswer:
    account = known_account(request.scope)
    return vault_answer(await vaults.create(relay, account, data.entries))


@get(
    "/api/v1/vaults",
    operation_id="listVaults",
    summary="Your vaults, the oldest first",
    tags=["sync"],
    guards=[requires("account.own")],
)
async def list_vaults(
    request: Request[Any, Any, Any], relay: NamedDependency[Relay]
) -> list[VaultAnswer]:
    return [vault_answer(row) for row in await vaults.listed(relay, known_account(request.scope))]


@get(
    "/api/v1/vaults/{vault:uuid}",
    operation_id="readVault",
    summary="How the vault stands, and whether it takes anything new",
    tags=["sync"],
    guards=[by_device],
    opt={"device": True},
    responses=refusals(410),
)
async def read_vault(
    request: Request[Any, Any, Any], vault: FromPath[UUID], relay: NamedDependency[Relay]
) -> StandingAnswer:
    found = await vaults.standing(relay, own_pass(request, vault))
    reason = found.verdict.reason if isinstance(found.verdict, No) else None
    return StandingAnswer(
        vault=vault_answer(found.vault),
        may_push=reason is None,
        reason=reason,
        sentence=None if reason is None else SENTENCES[reason],
        server_time_ms=to_ms(relay.clock()),
    )


@delete(
    "/api/v1/vaults/{vault:uuid}",
    operation_id="deleteVault",
    summary="Delete the vault here, with everything in it; devices keep what they hold",
    tags=["sync"],
    description="It stays deleted: devices that come later are told so, and set nothing up anew.",
    guards=[requires("account.own"), step_up],
    responses=refusals(410),
)
async def delete_vault(
    request: Request[Any, Any, Any], vault: FromPath[UUID], relay: NamedDependency[Relay]
) -> None:
    await vaults.delete(relay, known_account(request.scope), VaultId(vault))


@delete(
    "/api/v1/vaults/{vault:uuid}/deletion",
    operation_id="takeVaultDeletionBack",
    summary="Let the vault be set up here anew by one of its devices, though it was deleted",
    tags=["sync"],
    guards=[requires("account.own")],
)
async def take_vault_deletion_back(
    request: Request[Any, Any, Any], vault: FromPath[UUID], relay: NamedDependency[Relay]
) -> None:
    await vaults.take_deletion_back(relay, known_account(request.scope), VaultId(vault))


@get(
    "/api/v1/vaults/{vault:uuid}/control",
    operation_id="readControl",
    summary="Entries of the device list",
    description="As they were signed, each with its length (4 bytes, big-endian) before it; as many as go into one answer. Ask again "
    "after the last one until nothing comes.",
    tags=["sync"],
    media_type=OCTETS,
    guards=[by_device_or_person],
    opt={"device": True},
    responses=refusals(410),
)
async def read_control(
    request: Request[Any, Any, Any],
    vault: FromPath[UUID],
    relay: NamedDependency[Relay],
    after: Annotated[int, QueryParameter(ge=0, le=_SEQ_MAX)] = 0,
) -> Response[bytes]:
    account, device_pass = _who(request, vault)
    found = await control.read(relay, account, VaultId(vault), device_pass, after=after)
    return Response(lengths_and(found), media_type=OCTETS)


@post(
    "/api/v1/vaults/{vault:uuid}/control",
    operation_id="appendControl",
    summary="Make the device list longer by one signed entry",
    description="`control_conflict` names in `about` the last entry that is there: somebody was faster.",
    tags=["sync"],
    status_code=200,
    guards=[by_device_or_person],
    opt={"device": True},
    operation_class=TakesOctets,
    request_max_body_size=rules.ENTRY_BYTES_MAX,
    responses=refusals(409, 410, 413, 415),
)
async def append_control(
    request: Request[Any, Any, Any], vault: FromPath[UUID], relay: NamedDependency[Relay]
) -> ControlAnswer:
    account, device_pass = _who(request, vault)
    entry = await octets(request)
    return ControlAnswer(await control.append(relay, account, VaultId(vault), device_pass, entry))


def _who(request: Request[Any, Any, Any], vault: UUID) -> tuple[AccountId, Pass | None]:
    if pass_of(request.scope) is None:
        return known_account(request.scope), None
    found = own_pass(request, vault)
    return found.account, found


ROUTES = (
    create_vault,
    list_vaults,
    read_vault,
    delete_vault,
    take_vault_deletion_back,
    read_control,
    append_control,
)
