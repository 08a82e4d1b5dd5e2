"""Unsubscribing by link and in the account, and, in development only, the pages that show what was sent.

A link to unsubscribe is opened by scanners of mail too, so opening it changes nothing: a POST does, which mail programs send by
themselves (RFC 8058) and people by a button.
"""

import asyncio
from ipaddress import ip_address
from typing import Any

from jinja2 import Environment, FileSystemLoader
from litestar import Request, Response, get, post, put
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler, Guard
from msgspec import Struct

from cloud_api.db import Database
from cloud_api.http.caller import caller, known_account
from cloud_api.http.refusing import refusals
from cloud_api.notifications import actions
from cloud_api.notifications.actions import Post, Unsubscribing
from cloud_api.notifications.folder import FolderMailer
from cloud_api.notifications.pages import html, page, words_for
from cloud_api.notifications.store import Preference
from cloud_api.notifications.wording import TEMPLATES
from shared.errors import ForbiddenError

SHOWN_MAX = 100  # whoever looks for an older one of development finds its file

_DEV_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'"
_FRAMED_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"


class MailPreference(Struct, frozen=True):
    """A kind of mail that you can do without."""

    kind: str
    is_wanted: bool


class MailPreferenceChange(Struct, frozen=True, forbid_unknown_fields=True):
    is_wanted: bool


def mail_routes(letters: Post, *, to_others: bool = False) -> list[ControllerRouterHandler]:
    """In development with the mails themselves, which hold links to reset passwords: `to_others` than this machine only on demand."""
    routes: list[ControllerRouterHandler] = [ask_to_unsubscribe, unsubscribe]
    if isinstance(letters.mailer, FolderMailer):
        routes += _development_pages(letters.mailer, [] if to_others else [_from_this_machine])
    return routes


@get(
    "/api/v1/mail/unsubscribe/{token:str}",
    operation_id="askToUnsubscribe",
    responses=refusals(404),
    tags=["mail"],
    media_type=MediaType.HTML,
)
async def ask_to_unsubscribe(
    request: Request[Any, Any, Any], token: FromPath[str], letters: NamedDependency[Post]
) -> Response[str]:
    """A page that asks if you no longer want mails of one kind. Changes nothing."""
    asked = actions.parse_unsubscribe_token(letters.key, token)
    return _unsubscribe_page(request, letters, asked, is_done=False)


@post(
    "/api/v1/mail/unsubscribe/{token:str}",
    operation_id="unsubscribe",
    responses=refusals(404),
    tags=["mail"],
    media_type=MediaType.HTML,
    status_code=200,
)
async def unsubscribe(
    request: Request[Any, Any, Any],
    token: FromPath[str],
    db: NamedDependency[Database],
    letters: NamedDependency[Post],
) -> Response[str]:
    """Ends mails of one kind, with one click (RFC 8058). What the body says is not read."""
    asked = actions.parse_unsubscribe_token(letters.key, token)
    await actions.unsubscribe(db, asked)
    return _unsubscribe_page(request, letters, asked, is_done=True)


@get(
    "/api/v1/account/mail-preferences",
    operation_id="listMailPreferences",
    tags=["account"],
    responses=refusals(401),
)
async def mail_preferences(
    request: Request[Any, Any, Any], db: NamedDependency[Database]
) -> list[MailPreference]:
    """Every kind of mail that you can do without, and whether you want it."""
    account = known_account(request.scope)
    async with db.reading(account) as connection:
        found = await actions.preferences(connection, account)
    return [MailPreference(each.kind, each.is_wanted) for each in found]


@put(
    "/api/v1/account/mail-preferences/{kind:str}",
    operation_id="changeMailPreference",
    responses=refusals(401, 404),
    tags=["account"],
)
async def change_mail_preference(
    request: Request[Any, Any, Any],
    kind: FromPath[str],
    data: JSONBody[MailPreferenceChange],
    db: NamedDependency[Database],
) -> MailPreference:
    """Says whether you want mails of a kind. Mails about the safety of your account always come."""
    account = known_account(request.scope)
    async with db.transaction(account) as connection:
        await actions.prefer(connection, account, Preference(kind, data.is_wanted))
    return MailPreference(kind, data.is_wanted)


# These are of one's own account; accounts stand above, and put their guard before them.
OWN = (mail_preferences, change_mail_preference)


def _unsubscribe_page(
    request: Request[Any, Any, Any], letters: Post, asked: Unsubscribing, *, is_done: bool
) -> Response[str]:
    words = words_for(request, letters)
    section = words.sections.get(asked.kind)
    heading = section.subject if section else asked.kind
    if is_done:
        return page(letters, words, heading=heading, text=words.frame.done)
    return page(
        letters,
        words,
        heading=heading,
        text=words.frame.question,
        button=words.frame.unsubscribe,
    )


def _from_this_machine(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    address = caller(connection.scope).address
    try:
        is_near = ip_address(address).is_loopback
    except ValueError:
        is_near = False
    # Somebody else's proxy on this machine hides who asks, and says that it does.
    if not is_near or "forwarded" in connection.headers or "x-forwarded-for" in connection.headers:
        raise ForbiddenError(
            "Mails of development are shown on the machine itself only, unless SUNAIVA_CLOUD_ADMIN_HOST is an address that others reach."
        )


def _development_pages(folder: FolderMailer, guards: list[Guard]) -> list[ControllerRouterHandler]:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    template = environment.get_template("dev_mail.html")

    @get("/dev/mail", include_in_schema=False, opt={"unlimited": True}, guards=guards)
    async def all_mails() -> Response[str]:
        mails = await asyncio.to_thread(folder.newest, SHOWN_MAX)
        return html(template.render(mails=mails, shown_max=SHOWN_MAX), _DEV_CSP)

    @get("/dev/mail/{mail_id:str}", include_in_schema=False, opt={"unlimited": True}, guards=guards)
    async def one_mail(mail_id: FromPath[str]) -> Response[str]:
        mail = await asyncio.to_thread(folder.one, mail_id)
        return html(template.render(mail=mail), _DEV_CSP)

    @get(
        "/dev/mail/{mail_id:str}/html",
        include_in_schema=False,
        opt={"unlimited": True},
        guards=guards,
    )
    async def html_of_mail(mail_id: FromPath[str]) -> Response[str]:
        mail = await asyncio.to_thread(folder.one, mail_id)
        # The edge's own header would keep the page above from showing it.
        return html(mail.html, _FRAMED_CSP, {"x-frame-options": "SAMEORIGIN"})

    return [all_mails, one_mail, html_of_mail]
