"""Second factors that come, go and are renewed at the same moment: what each decides, the others have to see."""

import asyncio
from uuid import UUID

import pyotp
import pytest
from msgspec import Struct

from cloud_api.accounts.factors import actions as factors
from cloud_api.accounts.means import Means
from cloud_api.accounts.passkeys import actions as passkeys
from cloud_api.accounts.tokens import Bearer, SessionId
from cloud_api.db import AccountId
from cloud_api.deps import Deps
from tests.cloud_api.accounts.authenticator import Authenticator
from tests.cloud_api.accounts.people import Hands, Person

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("at_once")]


class Own(Struct):
    """Somebody's account from within."""

    means: Means
    bearer: Bearer
    clock: Hands

    async def code(self) -> str:
        proposal = await factors.propose_totp(self.means, self.bearer)
        return pyotp.TOTP(proposal.secret).at(self.clock())

    async def confirm(self, code: str) -> list[str]:
        return await factors.confirm_totp(self.means, self.bearer, code)

    async def add_passkey(self) -> passkeys.Added:
        begun = await passkeys.begin_adding(self.means, self.bearer)
        return await passkeys.add(
            self.means,
            self.bearer,
            handle=begun.handle,
            credential=Authenticator().register(begun.options),
            name="Laptop",
        )

    async def counts(self) -> tuple[bool, int, int]:
        found = await factors.own_factors(self.means, self.bearer)
        return found.has_totp, found.passkeys, found.recovery_codes


@pytest.fixture
async def own(ada: Person, deps: Deps, clock: Hands) -> Own:
    (session,) = (await ada.get("/account/sessions")).json()["items"]
    me = (await ada.get("/account")).json()["id"]
    bearer = Bearer(AccountId(UUID(me)), SessionId(UUID(session["id"])))
    return Own(deps.accounts, bearer, clock)


async def test_recovery_codes_renewed_at_once_void_each_other(own: Own) -> None:
    await own.confirm(await own.code())
    await asyncio.gather(*(factors.renew_recovery_codes(own.means, own.bearer) for _ in range(3)))
    assert await own.counts() == (True, 0, 10)


async def test_the_first_two_factors_added_at_once_bring_ten_recovery_codes(own: Own) -> None:
    code = await own.code()
    await asyncio.gather(own.confirm(code), own.add_passkey())
    assert await own.counts() == (True, 1, 10)


async def test_the_last_two_factors_removed_at_once_take_the_recovery_codes_with_them(
    own: Own,
) -> None:
    await own.confirm(await own.code())
    passkey = (await own.add_passkey()).passkey.id
    await asyncio.gather(
        factors.remove_totp(own.means, own.bearer),
        passkeys.remove(own.means, own.bearer, passkey),
    )
    assert await own.counts() == (False, 0, 0)
