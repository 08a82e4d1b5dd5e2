"""Signing up, mail address and password, and the account itself."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from cloud_api.accounts.agreements import Agreements
from cloud_api.accounts.factors import recovery
from cloud_api.accounts.guards import found_along, step_up
from cloud_api.accounts.means import Means
from cloud_api.accounts.people import actions, profile
from cloud_api.accounts.people.actions import Asked
from cloud_api.accounts.people.profile import Profile
from cloud_api.accounts.resets import reset_password
from cloud_api.accounts.tokens import Bearer
from cloud_api.accounts.wire import (
    GUESSES,
    MAILS,
    LanguageText,
    MailText,
    NameText,
    PasswordText,
    Said,
    TokenText,
)
from cloud_api.http.etags import etag, require_match, tagged
from cloud_api.http.idempotency import CREATES
from cloud_api.http.languages import preferred
from cloud_api.http.refusing import refusals

VersionText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=40,
        description="Of the text that was shown and agreed to; /api/v1/consents has the present one",
    ),
]


class SignUp(Struct, frozen=True, forbid_unknown_fields=True):
    mail: MailText
    password: PasswordText
    terms: VersionText
    privacy: VersionText
    name: NameText | None = None
    language: LanguageText | None = None


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    token: TokenText


class Verification(Struct, frozen=True, forbid_unknown_fields=True):
    token: TokenText
    password: PasswordText
    """The one that was chosen when signing up."""


class Forgotten(Struct, frozen=True, forbid_unknown_fields=True):
    mail: MailText


class Reset(Struct, frozen=True, forbid_unknown_fields=True):
    token: TokenText
    password: PasswordText
    factors_lost: bool = False
    """No second factor can be shown any more: all are removed after seven days, unless one is shown or the mail's link kept them."""


class NewPassword(Struct, frozen=True, forbid_unknown_fields=True):
    present: PasswordText
    password: PasswordText


class NewMail(Struct, frozen=True, forbid_unknown_fields=True):
    mail: MailText


class Edit(Struct, frozen=True, forbid_unknown_fields=True):
    name: NameText | UnsetType | None = UNSET
    language: LanguageText | UnsetType = UNSET


class AccountAnswer(Struct, frozen=True):
    id: UUID
    mail: str
    name: str | None
    language: str
    created_at: datetime
    password_changed_at: datetime
    roles: list[str]


# The same words whether there is an account or not; who owns the mailbox reads the rest there.
_SENT = Said("If this address can be used, a mail is on its way to it.")


@post(
    "/sign-up",
    status_code=202,
    summary="Open an account: a mail with a link goes to the address",
    opt={**CREATES, "rate": MAILS},
    responses=refusals(409, 422),
)
async def sign_up(
    data: JSONBody[SignUp], request: Request[Any, Any, Any], accounts: NamedDependency[Means]
) -> Said:
    language = data.language or _language(request)
    asked = Asked(
        mail=data.mail,
        password=data.password,
        name=data.name,
        language=language,
        agreed=Agreements(terms=data.terms, privacy=data.privacy),
    )
    await actions.sign_up(accounts, asked)
    return _SENT


@post(
    "/verify",
    status_code=204,
    summary="Answer the mail of a sign-up, with its password: the account is made",
    opt={"rate": GUESSES},
    responses=refusals(403),
)
async def verify(data: JSONBody[Verification], accounts: NamedDependency[Means]) -> None:
    await actions.verify(accounts, data.token, data.password)


@post(
    "/password/forgotten",
    status_code=202,
    summary="Ask for a mail to set a new password",
    opt={**CREATES, "rate": MAILS},
)
async def forgotten(
    data: JSONBody[Forgotten], request: Request[Any, Any, Any], accounts: NamedDependency[Means]
) -> Said:
    await actions.ask_for_reset(accounts, data.mail, _language(request))
    return _SENT


@post(
    "/password/reset",
    status_code=204,
    summary="Set a new password by the link of a mail; all sessions end",
    opt={"rate": GUESSES},
    responses=refusals(403),
)
async def reset(data: JSONBody[Reset], accounts: NamedDependency[Means]) -> None:
    await reset_password(accounts, data.token, data.password, factors_lost=data.factors_lost)


@post(
    "/factors/keep",
    status_code=204,
    summary="Keep the second factors that are to be removed, by the link of a mail",
    opt={"rate": GUESSES},
    responses=refusals(403),
)
async def keep_factors(data: JSONBody[Link], accounts: NamedDependency[Means]) -> None:
    await recovery.keep(accounts, data.token)


@post(
    "/mail/confirm",
    status_code=204,
    summary="Answer the mail to a new address: it counts from now on",
    opt={"rate": GUESSES},
    responses=refusals(403),
)
async def confirm_mail(data: JSONBody[Link], accounts: NamedDependency[Means]) -> None:
    await actions.confirm_mail(accounts, data.token)


@get("/", summary="Your account", opt={"along": profile.asked}, responses=refusals(401, 404))
async def me(request: Request[Any, Any, Any]) -> Response[AccountAnswer]:
    return tagged(_answer(profile.of(found_along(request.scope))))


@patch("/", summary="Change your name or language", responses=refusals(401, 404, 409, 412, 428))
async def edit(
    data: JSONBody[Edit],
    bearer: NamedDependency[Bearer],
    request: Request[Any, Any, Any],
    accounts: NamedDependency[Means],
) -> Response[AccountAnswer]:
    changed = await profile.change(
        accounts,
        bearer,
        lambda present: require_match(request, etag(_answer(present))),
        name=data.name,
        language=data.language,
    )
    return tagged(_answer(changed))


@post(
    "/password",
    status_code=204,
    summary="Change your password; other sessions end",
    guards=[step_up],
    opt={"rate": GUESSES},
    responses=refusals(401, 403, 404),
)
async def change_password(
    data: JSONBody[NewPassword], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> None:
    await actions.change_password(accounts, bearer, present=data.present, password=data.password)


@post(
    "/mail",
    status_code=202,
    summary="Change your mail address: the new one has to answer, the old one is told",
    guards=[step_up],
    opt={**CREATES, "rate": MAILS},
    responses=refusals(401, 403, 404),
)
async def change_mail(
    data: JSONBody[NewMail], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> Said:
    await actions.ask_for_mail_change(accounts, bearer, data.mail)
    return _SENT


def _answer(found: Profile) -> AccountAnswer:
    person = found.person
    return AccountAnswer(
        id=person.id,
        mail=person.mail,
        name=person.name,
        language=person.language,
        created_at=person.created_at,
        password_changed_at=person.password_changed_at,
        roles=found.roles,
    )


def _language(request: Request[Any, Any, Any]) -> str:
    return preferred(request.headers.get("accept-language", ""))


PUBLIC = [sign_up, verify, forgotten, reset, keep_factors, confirm_mail]
OWN = [me, edit, change_password, change_mail]
