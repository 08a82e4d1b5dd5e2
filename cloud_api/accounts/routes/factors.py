"""Second factors of one's own account."""

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Struct

from cloud_api.accounts.factors import actions
from cloud_api.accounts.guards import step_up
from cloud_api.accounts.means import Means
from cloud_api.accounts.tokens import Bearer
from cloud_api.accounts.wire import GUESSES, CodeText
from cloud_api.http.idempotency import CREATES
from cloud_api.http.refusing import refusals


class FactorsAnswer(Struct, frozen=True):
    has_totp: bool
    passkeys: int
    recovery_codes_left: int


class ProposalAnswer(Struct, frozen=True):
    secret: str
    uri: str
    """What an authenticator app reads from a QR code."""


class Confirmation(Struct, frozen=True, forbid_unknown_fields=True):
    code: CodeText


class RecoveryCodes(Struct, frozen=True):
    recovery_codes: list[str]
    """Shown this once; empty where there are some already."""


@get("/factors", summary="Which second factors you have", responses=refusals(401))
async def own_factors(
    bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> FactorsAnswer:
    found = await actions.own_factors(accounts, bearer)
    return FactorsAnswer(found.has_totp, found.passkeys, found.recovery_codes)


@post(
    "/totp",
    summary="A secret for an authenticator app",
    guards=[step_up],
    opt=CREATES,
    responses=refusals(401, 403, 404, 409),
)
async def propose_totp(
    bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> ProposalAnswer:
    proposal = await actions.propose_totp(accounts, bearer)
    return ProposalAnswer(proposal.secret, proposal.uri)


@post(
    "/totp/confirm",
    status_code=200,
    summary="A code of the app: from now on it is your second factor",
    guards=[step_up],
    opt={**CREATES, "rate": GUESSES},
    responses=refusals(401, 403, 404, 409),
)
async def confirm_totp(
    data: JSONBody[Confirmation], bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> RecoveryCodes:
    return RecoveryCodes(await actions.confirm_totp(accounts, bearer, data.code))


@delete(
    "/totp",
    summary="Remove the authenticator app",
    guards=[step_up],
    responses=refusals(401, 403, 404),
)
async def remove_totp(bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]) -> None:
    await actions.remove_totp(accounts, bearer)


@post(
    "/recovery-codes",
    summary="Ten new recovery codes; older ones are void",
    guards=[step_up],
    opt=CREATES,
    responses=refusals(401, 403, 409),
)
async def renew_recovery_codes(
    bearer: NamedDependency[Bearer], accounts: NamedDependency[Means]
) -> RecoveryCodes:
    return RecoveryCodes(await actions.renew_recovery_codes(accounts, bearer))


OWN = [own_factors, propose_totp, confirm_totp, remove_totp, renew_recovery_codes]
