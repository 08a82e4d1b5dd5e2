"""Who may do what, as guards of routes see it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pyotp
import pytest
from httpx import AsyncClient
from litestar import get
from msgspec.structs import replace

from cloud_api.accounts import commands
from cloud_api.accounts.addresses import InvalidMailAddressError
from cloud_api.accounts.commands import AccountUnknownError, RoleUnknownError
from cloud_api.accounts.guards import requires, step_up, step_up_with_factor
from cloud_api.accounts.roles.rules import (
    Lack,
    Standing,
    lack_of_permission,
    lack_of_proof,
)
from cloud_api.deps import Deps
from tests.cloud_api.accounts.people import NOON, Hands, Person, code_of
from tests.cloud_api.clients import client_of

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
USER = Standing(
    is_live=True,
    has_factor=False,
    proved_at=NOON,
    factor_at=None,
    permissions=frozenset({"account.own"}),
    staff_permissions=frozenset(),
)
STAFF = replace(
    USER,
    has_factor=True,
    factor_at=NOON,
    staff_permissions=frozenset({"ledger.read", "account.own"}),
)


@pytest.mark.parametrize(
    ("standing", "permission", "after", "lack"),
    [
        (USER, "account.own", 300 * HOUR, None),
        (USER, "ledger.read", 0 * HOUR, "permission"),
        (replace(USER, is_live=False), "account.own", 0 * HOUR, "session"),
        (STAFF, "ledger.read", 0 * HOUR, None),
        (STAFF, "ledger.read", 12 * HOUR, "factor"),
        (replace(STAFF, factor_at=None), "ledger.read", 0 * HOUR, "factor"),
        (replace(STAFF, factor_at=None), "account.own", 0 * HOUR, None),
    ],
)
def test_what_staff_may_do_takes_a_second_factor(
    standing: Standing, permission: str, after: timedelta, lack: Lack | None
) -> None:
    assert lack_of_permission(standing, permission, NOON + after) == lack


@pytest.mark.parametrize(
    ("standing", "after", "factor_needed", "lack"),
    [
        (USER, 0 * HOUR, False, None),
        (USER, HOUR / 6, False, "step_up"),
        (USER, 0 * HOUR, True, "factor"),
        (STAFF, HOUR / 6 - timedelta(seconds=1), True, None),
        (STAFF, HOUR / 6, True, "step_up"),
        (replace(STAFF, factor_at=None), 0 * HOUR, False, "step_up"),
        (replace(USER, proved_at=None), 0 * HOUR, False, "step_up"),
        (replace(STAFF, is_live=False), 0 * HOUR, True, "session"),
    ],
)
def test_proof_is_by_the_strongest_means_there_is(
    standing: Standing, after: timedelta, factor_needed: bool, lack: Lack | None
) -> None:
    assert lack_of_proof(standing, NOON + after, factor_needed=factor_needed) == lack


@get("/api/v1/probe/ledger", guards=[requires("ledger.read")])
async def ledger() -> None: ...


@get("/api/v1/probe/sensitive", guards=[step_up])
async def sensitive() -> None: ...


@get("/api/v1/probe/payout", guards=[step_up_with_factor])
async def payout() -> None: ...


@pytest.fixture
async def client(deps: Deps) -> AsyncIterator[AsyncClient]:
    probes = replace(deps, routes=[*deps.routes, ledger, sensitive, payout])
    async with client_of(probes) as opened:
        yield opened


async def test_a_role_is_given_and_taken_and_counts_with_a_second_factor_only(
    ada: Person, deps: Deps, clock: Hands
) -> None:
    assert code_of(await ada.get("/probe/ledger")) == "permission_missing"
    assert "from now on" in await commands.grant(deps.accounts, "finance", ada.mail)
    assert "already" in await commands.grant(deps.accounts, "finance", ada.mail)
    assert code_of(await ada.get("/probe/ledger")) == "second_factor_missing"
    assert code_of(await ada.get("/probe/payout")) == "second_factor_missing"
    totp = pyotp.TOTP((await ada.post("/account/totp")).json()["secret"])
    await ada.post("/account/totp/confirm", {"code": totp.at(clock())})
    clock.forward(seconds=30)
    proof = await ada.post("/account/step-up/code", {"code": totp.at(clock())})
    assert proof.status_code == 204
    assert (await ada.get("/probe/ledger")).status_code == 200
    assert (await ada.get("/probe/payout")).status_code == 200
    assert (await ada.get("/account")).json()["roles"] == ["finance"]
    assert "no longer" in await commands.revoke(deps.accounts, "finance", ada.mail)
    assert "did not have" in await commands.revoke(deps.accounts, "finance", ada.mail)
    assert code_of(await ada.get("/probe/ledger")) == "permission_missing"


async def test_an_ended_session_passes_no_guard(ada: Person) -> None:
    await ada.post("/auth/logout")
    for probe in ("ledger", "sensitive", "payout"):
        assert code_of(await ada.get(f"/probe/{probe}")) == "session_over"


async def test_a_stranger_passes_no_guard(client: AsyncClient) -> None:
    for probe in ("ledger", "sensitive", "payout"):
        assert (await Person(client, "").get(f"/probe/{probe}")).status_code == 401


async def test_an_operator_sees_the_state_of_an_account_and_no_secret(
    ada: Person, deps: Deps
) -> None:
    state = await commands.state(deps.accounts, "ADA@example.org")
    assert (state.live_sessions, state.roles, state.has_totp) == (1, [], False)
    with pytest.raises(AccountUnknownError):
        await commands.state(deps.accounts, "nobody@example.org")
    with pytest.raises(RoleUnknownError, match="finance"):
        await commands.grant(deps.accounts, "emperor", ada.mail)
    with pytest.raises(InvalidMailAddressError):
        await commands.revoke(deps.accounts, "admin", "ada")
