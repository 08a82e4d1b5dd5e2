"""Who asks: an address, and an account once somebody has proved to be one. Limits and idempotency keys are counted by it."""

from contextvars import ContextVar
from typing import Any, Literal

from msgspec import Struct, structs

from cloud_api.db import AccountId
from cloud_api.http.networks import address_in
from cloud_api.http.refusals import NotAuthenticatedError
from cloud_api.telemetry.trail import name_account
from shared.errors import NotFoundError

Tier = Literal["anonymous", "person", "device", "staff"]

_KEY = "sunaiva.caller"
# Of the request that is being answered: a server answers each in a task of its own, and what runs without one has none.
_ADDRESS: ContextVar[str | None] = ContextVar("caller_address", default=None)


class AccountGoneError(NotFoundError):
    code = "account_gone"

    def __init__(self) -> None:
        super().__init__("This account is no longer there.")


class Caller(Struct, frozen=True, kw_only=True):
    address: str
    account: AccountId | None = None
    tier: Tier = "anonymous"


def caller(scope: Any) -> Caller:
    found: Caller = scope[_KEY]
    return found


def known_account(scope: Any) -> AccountId:
    """The account that this request is made for.

    Raises:
        NotAuthenticatedError: nobody has proved to be one.
    """
    account = caller(scope).account
    if account is None:
        raise NotAuthenticatedError("Log in first: this is about one person's own things.")
    return account


def take_caller(scope: Any, *, forwarded_for: str | None, proxies: int) -> None:
    found = Caller(address=_address(scope, forwarded_for, proxies))
    scope[_KEY] = found
    _ADDRESS.set(found.address)


def present_address() -> str | None:
    """For what notes where something came from, and is not handed a request."""
    return _ADDRESS.get()


def identify(scope: Any, account: AccountId, tier: Tier = "person") -> None:
    """Authentication calls this once it knows. Everything after counts by the account."""
    scope[_KEY] = structs.replace(caller(scope), account=account, tier=tier)
    name_account(str(account))


def _address(scope: Any, forwarded_for: str | None, proxies: int) -> str:
    client = scope.get("client")
    direct = client[0] if client else "unknown"
    if not proxies or not forwarded_for:
        return direct
    # Each proxy of ours appended who spoke to it; what stands before those entries anybody can have written.
    entries = forwarded_for.split(",")
    found = address_in(entries[-proxies]) if len(entries) >= proxies else None
    return direct if found is None else str(found)
