"""A person's rights over HTTP. What cannot be undone, or gives everything away, needs proof from just now that it is them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Annotated, Any, BinaryIO
from uuid import UUID

from litestar import Request, Response, Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import FromPath, JSONBody
from litestar.response import Stream
from msgspec import Meta, Struct

from cloud_api.accounts.guards import requires, step_up
from cloud_api.blobs import CHUNK_BYTES
from cloud_api.http.caller import known_account
from cloud_api.http.idempotency import CREATES
from cloud_api.http.refusing import refusals
from cloud_api.notifications.actions import Post
from cloud_api.notifications.pages import page, words_for
from cloud_api.rights import consents, deletions, exports
from cloud_api.rights.exports import Rights
from cloud_api.rights.rules import CONSENTS, NEEDED, Kept
from cloud_api.rights.store import ConsentRow, ExportRow
from cloud_api.rights.wording import text_of


class ExportAnswer(Struct, frozen=True):
    """An export of everything the cloud holds on you. Its link is mailed to you, and stands nowhere else."""

    id: UUID
    state: str
    asked_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None
    bytes: int | None


class DeletionAnswer(Struct, frozen=True):
    """Your account will be deleted on `due_at`, unless you sign in before or call it off."""

    asked_at: datetime
    due_at: datetime


class ReceiptAnswer(Struct, frozen=True):
    """What a deletion did: how many rows of which table are gone, and which are kept, with a code that says why."""

    deleted_on: date
    deleted: dict[str, int]
    kept: list[Kept]


class ConsentAnswer(Struct, frozen=True):
    kind: str
    version: str
    given_at: datetime
    withdrawn_at: datetime | None


class ConsentTextAnswer(Struct, frozen=True):
    """What one can agree to. Without those that are needed there is no account."""

    kind: str
    version: str
    is_needed: bool
    text: str
    """Where it can be read."""


class Consent(Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[str, Meta(min_length=1, max_length=40)]
    """Of the text that you were shown."""


@post(
    "/api/v1/account/exports",
    operation_id="askForExport",
    tags=["rights"],
    status_code=202,
    guards=[step_up],
    opt=CREATES,
    responses=refusals(401, 403),
)
async def ask_for_export(
    request: Request[Any, Any, Any], rights: NamedDependency[Rights]
) -> ExportAnswer:
    """Has everything written out that the cloud holds on you; a mail brings the link."""
    return _export(await exports.ask(rights, known_account(request.scope)))


@get(
    "/api/v1/account/exports", operation_id="listExports", tags=["rights"], responses=refusals(401)
)
async def own_exports(
    request: Request[Any, Any, Any], rights: NamedDependency[Rights]
) -> list[ExportAnswer]:
    """Your exports, the newest first."""
    found = await exports.listed(rights.db, known_account(request.scope))
    return [_export(each) for each in found]


@get(
    "/api/v1/exports/{token:str}",
    operation_id="downloadExport",
    tags=["rights"],
    media_type="application/zip",
    responses=refusals(404),
)
async def download_export(token: FromPath[str], rights: NamedDependency[Rights]) -> Stream:
    """The zip file, by the link that was mailed. It works for seven days."""
    plain = await exports.fetch(rights, token)
    headers = {
        "content-disposition": 'attachment; filename="sunaiva-export.zip"',
        "content-length": str(plain.tell()),
    }
    return Stream(_sent(plain), media_type="application/zip", headers=headers)


@post(
    "/api/v1/account/deletion",
    operation_id="askForDeletion",
    tags=["rights"],
    status_code=202,
    guards=[step_up],
    opt=CREATES,
    responses=refusals(401, 403),
)
async def ask_for_deletion(
    request: Request[Any, Any, Any], rights: NamedDependency[Rights]
) -> DeletionAnswer:
    """Has your account deleted in fourteen days, and ends all of its sessions. Signing in keeps it."""
    found = await deletions.ask(rights, known_account(request.scope))
    return DeletionAnswer(found.asked_at, found.due_at)


@get(
    "/api/v1/account/deletion",
    operation_id="readDeletion",
    tags=["rights"],
    responses=refusals(401, 404),
)
async def own_deletion(
    request: Request[Any, Any, Any], rights: NamedDependency[Rights]
) -> DeletionAnswer:
    """When your account will be deleted; not found where it will not."""
    found = await deletions.standing(rights, known_account(request.scope))
    return DeletionAnswer(found.asked_at, found.due_at)


@delete(
    "/api/v1/account/deletion",
    operation_id="cancelDeletion",
    tags=["rights"],
    responses=refusals(401),
)
async def cancel_deletion(request: Request[Any, Any, Any], rights: NamedDependency[Rights]) -> None:
    """Keeps your account."""
    await deletions.keep(rights, known_account(request.scope))


@get(
    "/api/v1/deletions/{token:str}",
    operation_id="askToKeepAccount",
    tags=["rights"],
    media_type=MediaType.HTML,
    responses=refusals(404),
)
async def ask_to_keep(
    request: Request[Any, Any, Any],
    token: FromPath[str],
    rights: NamedDependency[Rights],
    letters: NamedDependency[Post],
) -> Response[str]:
    """A page that asks if you want to keep your account. Changes nothing."""
    await deletions.account_of_link(rights, token)
    words = words_for(request, letters)
    asked = words.sections["deletion_requested"]
    return page(letters, words, heading=asked.subject, text=asked.notes[0], button=asked.button)


@post(
    "/api/v1/deletions/{token:str}",
    operation_id="keepAccount",
    tags=["rights"],
    media_type=MediaType.HTML,
    status_code=200,
    responses=refusals(404),
)
async def keep_account(
    request: Request[Any, Any, Any],
    token: FromPath[str],
    rights: NamedDependency[Rights],
    letters: NamedDependency[Post],
) -> Response[str]:
    """Keeps the account, by the link that was mailed. What the body says is not read."""
    await deletions.keep(rights, await deletions.account_of_link(rights, token))
    words = words_for(request, letters)
    done = words.sections["deletion_cancelled"]
    return page(letters, words, heading=done.subject, text=done.notes[0])


@get(
    "/api/v1/deletion-receipts/{token:str}",
    operation_id="readDeletionReceipt",
    tags=["rights"],
    responses=refusals(404),
)
async def deletion_receipt(token: FromPath[str], rights: NamedDependency[Rights]) -> ReceiptAnswer:
    """The receipt of a deletion, by the link that was mailed. It does not say whose account it was."""
    found = await deletions.read_receipt(rights, token)
    return ReceiptAnswer(found.deleted_on, found.deleted, found.kept)


@get("/api/v1/consents", operation_id="listConsentTexts", tags=["rights"])
async def consent_texts(rights: NamedDependency[Rights]) -> list[ConsentTextAnswer]:
    """The present version of each text that one can agree to."""
    return [
        ConsentTextAnswer(
            kind, version, kind in NEEDED, f"{rights.public_url}/api/v1/consents/{kind}/{version}"
        )
        for kind, version in CONSENTS.items()
    ]


@get(
    "/api/v1/consents/{kind:str}/{version:str}",
    operation_id="readConsentText",
    tags=["rights"],
    media_type=MediaType.TEXT,
    responses=refusals(404),
)
async def consent_text(
    kind: FromPath[str], version: FromPath[str], rights: NamedDependency[Rights]
) -> Response[str]:
    """A text that people agree to or once did, in English, as Markdown."""
    text = text_of(rights.texts, kind, version)
    return Response(text, media_type=MediaType.TEXT, headers={"content-language": "en"})


@get(
    "/api/v1/account/consents",
    operation_id="listConsents",
    tags=["rights"],
    responses=refusals(401),
)
async def own_consents(
    request: Request[Any, Any, Any], rights: NamedDependency[Rights]
) -> list[ConsentAnswer]:
    """What you have agreed to, and when, the newest first."""
    return _consents(await consents.listed(rights, known_account(request.scope)))


@put(
    "/api/v1/account/consents/{kind:str}",
    operation_id="giveConsent",
    tags=["rights"],
    responses=refusals(401, 409),
)
async def give_consent(
    request: Request[Any, Any, Any],
    kind: FromPath[str],
    data: JSONBody[Consent],
    rights: NamedDependency[Rights],
) -> list[ConsentAnswer]:
    """Agrees to a text. Another version of it replaces the former one."""
    account = known_account(request.scope)
    return _consents(await consents.give(rights, account, kind, data.version))


@delete(
    "/api/v1/account/consents/{kind:str}",
    operation_id="withdrawConsent",
    tags=["rights"],
    status_code=200,
    responses=refusals(401, 404, 409),
)
async def withdraw_consent(
    request: Request[Any, Any, Any], kind: FromPath[str], rights: NamedDependency[Rights]
) -> list[ConsentAnswer]:
    """Takes back what you agreed to, where an account can be without it."""
    return _consents(await consents.withdraw(rights, known_account(request.scope), kind))


# The whole path stands at each, because some are not of one's own account.
_OWN = Router(
    "/",
    route_handlers=[
        ask_for_export,
        own_exports,
        ask_for_deletion,
        own_deletion,
        cancel_deletion,
        own_consents,
        give_consent,
        withdraw_consent,
    ],
    guards=[requires("account.own")],
)
RIGHTS_ROUTES = (
    _OWN,
    download_export,
    ask_to_keep,
    keep_account,
    deletion_receipt,
    consent_texts,
    consent_text,
)


async def _sent(file: BinaryIO) -> AsyncIterator[bytes]:
    # However the caller ends, also one that never reads: what nobody holds any more is closed, and gone with it.
    with file:
        file.seek(0)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


def _export(row: ExportRow) -> ExportAnswer:
    return ExportAnswer(row.id, row.state, row.asked_at, row.ready_at, row.expires_at, row.bytes)


def _consents(rows: list[ConsentRow]) -> list[ConsentAnswer]:
    return [
        ConsentAnswer(each.kind, each.version, each.given_at, each.withdrawn_at) for each in rows
    ]
