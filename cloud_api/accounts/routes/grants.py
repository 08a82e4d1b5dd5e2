"""Device authorisation as RFC 8628 has it, for any client that knows it: a form or JSON comes, and errors are named by `error`.

There is one public client and there are no scopes: who is logged in may do what the account may.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Operation, RequestBody
from litestar.params import JSONBody
from msgspec import Meta, Struct

from cloud_api.accounts.grants import actions
from cloud_api.accounts.grants.rules import (
    CLIENT,
    GRANT_LIFE,
    GRANT_TYPE,
    POLL_INTERVAL,
    check_client,
    check_grant_type,
)
from cloud_api.accounts.guards import step_up
from cloud_api.accounts.means import Means
from cloud_api.accounts.tokens import Bearer
from cloud_api.accounts.wire import (
    GUESSES,
    DeviceText,
    TokensAnswer,
    TokenText,
    place,
    tokens_answer,
)
from cloud_api.http.bodies import FORM
from cloud_api.http.caller import caller
from cloud_api.http.networks import shown_network
from cloud_api.http.refusing import refusals

UserCode = Annotated[str, Meta(min_length=8, max_length=20, description="As the terminal shows it")]


ClientId = Annotated[str, Meta(max_length=100, description=f"`{CLIENT}`, the only client there is")]


class DeviceCode(Struct, frozen=True, forbid_unknown_fields=True):
    client_id: ClientId = CLIENT
    device: DeviceText | None = None


class DeviceCodeAnswer(Struct, frozen=True):
    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class DeviceToken(Struct, frozen=True, forbid_unknown_fields=True):
    device_code: TokenText
    client_id: ClientId = CLIENT
    grant_type: Annotated[str, Meta(max_length=200, description=f"`{GRANT_TYPE}`")] = GRANT_TYPE


class Look(Struct, frozen=True, forbid_unknown_fields=True):
    user_code: UserCode


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    user_code: UserCode
    approve: bool


@dataclass
class FormOrJson(Operation):
    """The same fields in both."""

    def __post_init__(self) -> None:
        assert isinstance(self.request_body, RequestBody)
        self.request_body.content[FORM] = self.request_body.content["application/json"]


class LookAnswer(Struct, frozen=True):
    user_code: Annotated[str, Meta(description="As the terminal shows it, however it was typed")]
    device: str
    network: str
    asked_at: datetime
    expires_at: datetime


@post(
    "/device/code",
    status_code=200,
    summary="A code for a terminal to show",
    opt={"rate": GUESSES, "oauth": True},
    operation_class=FormOrJson,
)
async def begin(
    data: JSONBody[DeviceCode], request: Request[Any, Any, Any], accounts: NamedDependency[Means]
) -> DeviceCodeAnswer:
    check_client(data.client_id)
    begun = await actions.begin(accounts, place(request, data.device))
    page = f"{accounts.site.public_url}/account/device"
    return DeviceCodeAnswer(
        device_code=begun.device_code,
        user_code=begun.user_code,
        verification_uri=page,
        verification_uri_complete=f"{page}#{begun.user_code}",
        expires_in=int(GRANT_LIFE.total_seconds()),
        interval=int(POLL_INTERVAL.total_seconds()),
    )


@post(
    "/device/token",
    status_code=200,
    summary="The terminal's session, once a person has approved",
    description="Until then 400 with the code `authorization_pending` or `slow_down` (add five seconds to the interval); at the "
    "end `access_denied` or `expired_token`. The member `error` says the same, for clients that know RFC 8628.",
    opt={"oauth": True},
    operation_class=FormOrJson,
)
async def poll(
    data: JSONBody[DeviceToken], request: Request[Any, Any, Any], accounts: NamedDependency[Means]
) -> TokensAnswer:
    check_client(data.client_id)
    check_grant_type(data.grant_type)
    network = shown_network(caller(request.scope).address)
    return tokens_answer(await actions.poll(accounts, data.device_code, network))


@post(
    "/device/look",
    status_code=200,
    summary="Which device shows this code",
    opt={"rate": GUESSES},
    responses=refusals(401, 404),
)
async def look(
    data: JSONBody[Look], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> LookAnswer:
    code, row = await actions.look(accounts, bearer, data.user_code)
    return LookAnswer(code, row.device, row.network, row.created_at, row.expires_at)


@post(
    "/device/decide",
    status_code=204,
    summary="Approve or refuse the device that shows this code",
    description="To approve needs proof from just now, because a session comes out of it that lasts; to refuse does not.",
    opt={"rate": GUESSES},
    responses=refusals(401, 403, 404),
)
async def decide(
    data: JSONBody[Decision],
    request: Request[Any, Any, Any],
    bearer: NamedDependency[Bearer],
    accounts: NamedDependency[Means],
) -> None:
    if data.approve:
        await step_up(request, request.route_handler)
    await actions.decide(accounts, bearer, data.user_code, approved=data.approve)


PUBLIC = [begin, poll]
OWN = [look, decide]
