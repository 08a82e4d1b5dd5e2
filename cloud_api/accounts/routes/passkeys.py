"""Passkeys of one's own account."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from cloud_api.accounts.guards import step_up
from cloud_api.accounts.means import Means
from cloud_api.accounts.passkeys import actions
from cloud_api.accounts.passkeys.store import PasskeyRow
from cloud_api.accounts.tokens import Bearer
from cloud_api.accounts.wire import PLAIN, TokenText
from cloud_api.http.idempotency import CREATES
from cloud_api.http.refusing import refusals


class PasskeyAnswer(Struct, frozen=True):
    id: UUID
    name: str
    created_at: datetime
    used_at: datetime | None


class PasskeysAnswer(Struct, frozen=True):
    items: list[PasskeyAnswer]


class CeremonyAnswer(Struct, frozen=True):
    handle: str
    options: dict[str, Any]


class NewPasskey(Struct, frozen=True, forbid_unknown_fields=True):
    handle: TokenText
    credential: dict[str, Any]
    name: Annotated[str, Meta(min_length=1, max_length=80, pattern=PLAIN)]


class AddedAnswer(Struct, frozen=True):
    passkey: PasskeyAnswer
    recovery_codes: list[str]
    """Shown this once; empty where there are some already."""


@get("/passkeys", summary="Your passkeys", responses=refusals(401))
async def own_passkeys(
    bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> PasskeysAnswer:
    return PasskeysAnswer([_answer(row) for row in await actions.own_passkeys(accounts, bearer)])


@post(
    "/passkeys/options",
    status_code=200,
    summary="What a browser needs to make a passkey",
    guards=[step_up],
    responses=refusals(401, 403, 404),
)
async def begin_adding(
    bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> CeremonyAnswer:
    ceremony = await actions.begin_adding(accounts, bearer)
    return CeremonyAnswer(ceremony.handle, ceremony.options)


@post(
    "/passkeys",
    summary="Register a passkey",
    guards=[step_up],
    opt=CREATES,
    responses=refusals(401, 403, 409),
)
async def add(
    data: JSONBody[NewPasskey], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> AddedAnswer:
    added = await actions.add(
        accounts, bearer, handle=data.handle, credential=data.credential, name=data.name
    )
    return AddedAnswer(_answer(added.passkey), added.recovery_codes)


@delete(
    "/passkeys/{passkey_id:uuid}",
    summary="Remove a passkey",
    guards=[step_up],
    responses=refusals(401, 403, 404),
)
async def remove(
    passkey_id: FromPath[UUID], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> None:
    await actions.remove(accounts, bearer, passkey_id)


def _answer(row: PasskeyRow) -> PasskeyAnswer:
    return PasskeyAnswer(row.id, row.name, row.created_at, row.used_at)


OWN = [own_passkeys, begin_adding, add, remove]
