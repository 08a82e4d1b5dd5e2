"""Logging in, refreshing, logging out, and proving again to be there."""

from typing import Any

from litestar import Request, Router, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Struct

from cloud_api.accounts.authentication import bearer_of
from cloud_api.accounts.factors.store import Method
from cloud_api.accounts.login import actions
from cloud_api.accounts.login.actions import Attempt, LoggedIn, SecondFactorWanted
from cloud_api.accounts.means import Means
from cloud_api.accounts.passkeys import actions as passkeys
from cloud_api.accounts.sessions import actions as sessions
from cloud_api.accounts.tokens import Bearer
from cloud_api.accounts.wire import (
    GUESSES,
    CodeText,
    DeviceText,
    MailText,
    PasswordText,
    TokensAnswer,
    TokenText,
    place,
    tokens_answer,
)
from cloud_api.http.caller import caller
from cloud_api.http.described import LOGGED_IN_OR_NOT
from cloud_api.http.networks import counted_network, shown_network
from cloud_api.http.refusing import refusals


class LogIn(Struct, frozen=True, forbid_unknown_fields=True):
    mail: MailText
    password: PasswordText
    device: DeviceText | None = None


class LoggedInAnswer(Struct, frozen=True, tag="logged_in", tag_field="state"):
    tokens: TokensAnswer


class SecondFactorAnswer(Struct, frozen=True, tag="second_factor_wanted", tag_field="state"):
    challenge: str
    methods: list[Method]


class SecondFactor(Struct, frozen=True, forbid_unknown_fields=True):
    challenge: TokenText
    code: CodeText


class CeremonyAnswer(Struct, frozen=True):
    handle: str
    options: dict[str, Any]


class PasskeyLogIn(Struct, frozen=True, forbid_unknown_fields=True):
    handle: TokenText
    credential: dict[str, Any]
    device: DeviceText | None = None
    challenge: TokenText | None = None
    """That the password was answered with, where the passkey is the second step."""


class Refresh(Struct, frozen=True, forbid_unknown_fields=True):
    refresh_token: TokenText


class LogOut(Struct, frozen=True, forbid_unknown_fields=True):
    refresh_token: TokenText | None = None
    """For a client whose access token has run out."""


class Password(Struct, frozen=True, forbid_unknown_fields=True):
    password: PasswordText


class Code(Struct, frozen=True, forbid_unknown_fields=True):
    code: CodeText


class PasskeyProof(Struct, frozen=True, forbid_unknown_fields=True):
    handle: TokenText
    credential: dict[str, Any]


@post(
    "/login",
    status_code=200,
    summary="Log in with mail address and password",
    opt={"rate": GUESSES},
    responses=refusals(401),
)
async def log_in(
    data: JSONBody[LogIn], request: Request[Any, Any, Any], accounts: NamedDependency[Means]
) -> LoggedInAnswer | SecondFactorAnswer:
    attempt = Attempt(
        mail=data.mail,
        password=data.password,
        place=place(request, data.device),
        network=counted_network(caller(request.scope).address),
    )
    match await actions.log_in(accounts, attempt):
        case LoggedIn(tokens=tokens):
            return LoggedInAnswer(tokens_answer(tokens))
        case SecondFactorWanted(challenge=challenge, methods=methods):
            return SecondFactorAnswer(challenge, methods)


@post(
    "/login/second-factor",
    status_code=200,
    summary="The second step: a code of the authenticator app, or a recovery code",
    opt={"rate": GUESSES},
    responses=refusals(401, 403),
)
async def second_factor(
    data: JSONBody[SecondFactor], accounts: NamedDependency[Means]
) -> TokensAnswer:
    return tokens_answer(await actions.second_factor(accounts, data.challenge, data.code))


@post(
    "/login/passkey/options",
    status_code=200,
    summary="What a browser needs to log in with a passkey",
    opt={"rate": GUESSES},
)
async def passkey_options(accounts: NamedDependency[Means]) -> CeremonyAnswer:
    ceremony = await passkeys.begin_login(accounts)
    return CeremonyAnswer(ceremony.handle, ceremony.options)


@post(
    "/login/passkey",
    status_code=200,
    summary="Log in with a passkey",
    opt={"rate": GUESSES},
    responses=refusals(401, 403),
)
async def passkey_log_in(
    data: JSONBody[PasskeyLogIn], request: Request[Any, Any, Any], accounts: NamedDependency[Means]
) -> TokensAnswer:
    tokens = await passkeys.log_in(
        accounts,
        handle=data.handle,
        credential=data.credential,
        place=place(request, data.device),
        challenge=data.challenge,
    )
    return tokens_answer(tokens)


@post(
    "/refresh",
    status_code=200,
    summary="The next pair of tokens",
    description="A refresh token is used once. Sent again within half a minute it gives the same successor, as long as that "
    "was not used; sent again later it ends the session.",
    responses=refusals(401),
)
async def refresh(
    data: JSONBody[Refresh], request: Request[Any, Any, Any], accounts: NamedDependency[Means]
) -> TokensAnswer:
    network = shown_network(caller(request.scope).address)
    return tokens_answer(await sessions.refresh(accounts, data.refresh_token, network))


@post(
    "/logout",
    status_code=204,
    summary="End this session",
    responses=refusals(401),
    security=LOGGED_IN_OR_NOT,
)
async def log_out(
    data: JSONBody[LogOut], request: Request[Any, Any, Any], accounts: NamedDependency[Means]
) -> None:
    if data.refresh_token is not None:
        await sessions.log_out_by_token(accounts, data.refresh_token)
    else:
        await sessions.log_out(accounts, bearer_of(request.scope))


@post(
    "/password",
    status_code=204,
    summary="Confirm with the password that it is you",
    opt={"rate": GUESSES},
    responses=refusals(401, 403),
)
async def confirm_password(
    data: JSONBody[Password], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> None:
    await actions.confirm_password(accounts, bearer, data.password)


@post(
    "/code",
    status_code=204,
    summary="Confirm with a code that it is you",
    opt={"rate": GUESSES},
    responses=refusals(401, 403),
)
async def confirm_code(
    data: JSONBody[Code], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> None:
    await actions.confirm_code(accounts, bearer, data.code)


@post(
    "/passkey",
    status_code=204,
    summary="Confirm with a passkey that it is you",
    opt={"rate": GUESSES},
    responses=refusals(401, 403),
)
async def confirm_passkey(
    data: JSONBody[PasskeyProof], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> None:
    await passkeys.confirm(accounts, bearer, handle=data.handle, credential=data.credential)


LOGIN = [log_in, second_factor, passkey_options, passkey_log_in, refresh, log_out]
STEP_UP = Router("/step-up", route_handlers=[confirm_password, confirm_code, confirm_passkey])
