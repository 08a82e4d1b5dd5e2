"""Signing keys in the database and over HTTP."""

import asyncio

import jwt
import pytest
from httpx import AsyncClient

from cloud_api.accounts import commands
from cloud_api.accounts.keys.keyring import Keyring
from cloud_api.accounts.keys.rules import PUBLISHED_AHEAD
from cloud_api.accounts.lifetimes import ACCESS_TOKEN_LIFE, CLOCK_SKEW
from cloud_api.db import Database
from cloud_api.deps import Deps
from shared.errors import ForbiddenError
from tests.cloud_api.accounts.people import Hands, Person

pytestmark = pytest.mark.anyio


async def published(client: AsyncClient) -> list[str]:
    answer = await client.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    return [key["kid"] for key in answer.json()["keys"]]


async def test_anybody_can_verify_our_tokens_with_what_is_published(ada: Person) -> None:
    answer = await ada.client.get("/.well-known/jwks.json")
    (key,) = answer.json()["keys"]
    assert sorted(key) == ["alg", "crv", "kid", "kty", "use", "x"], "no private part"
    claims = jwt.decode(
        ada.access_token,
        jwt.PyJWK.from_dict(key).key,
        algorithms=["EdDSA"],
        audience="sunaiva-api",
        issuer="http://127.0.0.1:8400",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["exp"] - claims["iat"] == 900


async def test_a_rotation_disturbs_nobody(ada: Person, deps: Deps, clock: Hands) -> None:
    (old,) = await published(ada.client)
    await commands.rotate_keys(deps.accounts, withdraw=False)
    assert len(await published(ada.client)) == 2
    clock.forward(seconds=PUBLISHED_AHEAD.total_seconds())
    assert (await ada.get("/account")).status_code == 200
    await ada.refresh()
    assert jwt.get_unverified_header(ada.access_token)["kid"] != old
    assert (await ada.get("/account")).status_code == 200
    clock.forward(seconds=(ACCESS_TOKEN_LIFE + CLOCK_SKEW).total_seconds())
    assert old not in await published(ada.client)


async def test_a_withdrawn_key_is_believed_no_more(ada: Person, deps: Deps) -> None:
    await commands.rotate_keys(deps.accounts, withdraw=True)
    assert (await ada.get("/account")).status_code == 401
    assert (await ada.refresh()).status_code == 200
    assert (await ada.get("/account")).status_code == 200


async def test_another_process_hears_of_a_new_key(db: Database, clock: Hands) -> None:
    one, other = Keyring(db, clock, b"k" * 32), Keyring(db, clock, b"k" * 32)
    first = (await one.signing()).kid
    assert (await other.signing()).kid == first
    async with db.transaction() as connection:
        new = await one.rotate(connection)
    clock.forward(seconds=6)
    assert (await other.public(new))["kid"] == new


async def test_processes_that_start_together_make_one_first_key(db: Database, clock: Hands) -> None:
    rings = [Keyring(db, clock, b"k" * 32) for _ in range(4)]
    kids = await asyncio.gather(*(ring.signing() for ring in rings))
    assert len({key.kid for key in kids}) == 1


async def test_another_installations_secret_opens_no_key(db: Database, clock: Hands) -> None:
    await Keyring(db, clock, b"k" * 32).signing()
    with pytest.raises(ForbiddenError):
        await Keyring(db, clock, b"x" * 32).signing()


async def test_a_key_is_rotated_when_its_life_is_over(db: Database, clock: Hands) -> None:
    ring = Keyring(db, clock, b"k" * 32)
    await ring.signing()
    async with db.transaction() as connection:
        assert await ring.rotate_when_due(connection) is None
    clock.forward(days=90)
    async with db.transaction() as connection:
        assert await ring.rotate_when_due(connection) is not None
