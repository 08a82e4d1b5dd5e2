"""The person's own entries of the audit log."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from cloud_api.audit import actions
from cloud_api.audit.rules import Value
from cloud_api.db import Database
from cloud_api.http.caller import known_account
from cloud_api.http.cursors import CURSOR_CHARS_MAX, PAGE_ITEMS, PAGE_ITEMS_MAX, Cursors, Page
from cloud_api.http.refusing import refusals

_LISTING = "audit"


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Something that concerned your account. `network` is the block of addresses that it came from."""

    id: UUID
    noted_at: datetime
    action: str
    actor: str
    network: str | None
    detail: dict[str, Value]


@get(
    "/api/v1/account/audit",
    operation_id="listOwnAuditEntries",
    tags=["account"],
    responses=refusals(401),
)
async def own_audit(
    request: Request[Any, Any, Any],
    db: NamedDependency[Database],
    cursors: NamedDependency[Cursors],
    cursor: Annotated[str | None, QueryParameter(max_length=CURSOR_CHARS_MAX)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_ITEMS_MAX)] = PAGE_ITEMS,
) -> Page[AuditEntry]:
    """What happened to your account, the newest first."""
    account = known_account(request.scope)
    before = None if cursor is None else cursors.read(_LISTING, cursor, UUID)
    found = await actions.own_entries(db, account, before=before, most=limit + 1)
    items = [
        AuditEntry(
            id=each.entry.id,
            noted_at=each.entry.noted_at,
            action=each.entry.action,
            actor=each.entry.actor,
            network=each.entry.network,
            detail=each.detail,
        )
        for each in found[:limit]
    ]
    more = len(found) > limit
    return Page(items, cursors.write(_LISTING, items[-1].id) if more else None)
