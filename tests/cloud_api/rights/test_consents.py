"""What somebody agreed to."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx import AsyncClient

from cloud_api.deps import Deps
from cloud_api.rights.rules import CONSENTS, NEEDED
from tests.cloud_api.accounts.people import Hands, Person, code_of, drain

pytestmark = pytest.mark.anyio


async def put(person: Person, kind: str, version: str) -> Any:
    return await person.client.put(
        f"/api/v1/account/consents/{kind}",
        json={"version": version},
        headers={"authorization": f"Bearer {person.access_token}"},
    )


async def test_a_consent_is_kept_with_its_version_and_can_be_taken_back(
    ada: Person, clock: Hands
) -> None:
    (given,) = (await put(ada, "news", CONSENTS["news"])).json()
    assert (given["kind"], given["version"], given["withdrawn_at"]) == (
        "news",
        CONSENTS["news"],
        None,
    )
    assert (await put(ada, "news", CONSENTS["news"])).json() == [given]
    clock.forward(minutes=1)
    (withdrawn,) = (await ada.delete("/account/consents/news")).json()
    assert withdrawn["withdrawn_at"] is not None
    assert code_of(await ada.delete("/account/consents/news")) == "consent_not_given"
    assert len((await put(ada, "news", CONSENTS["news"])).json()) == 2
    actions = [each["action"] for each in (await ada.get("/account/audit")).json()["items"]]
    assert actions[:3] == ["consent.given", "consent.withdrawn", "consent.given"]


@pytest.mark.parametrize(
    ("kind", "version", "code"),
    [
        ("news", "1999-01-01", "consent_version_outdated"),
        ("cookies", "2026-11-21", "consent_unknown"),
    ],
)
async def test_only_to_a_present_text_can_be_agreed(
    ada: Person, kind: str, version: str, code: str
) -> None:
    assert code_of(await put(ada, kind, version)) == code


async def test_what_an_account_needs_ends_with_it_only(ada: Person) -> None:
    await put(ada, "terms", CONSENTS["terms"])
    assert code_of(await ada.delete("/account/consents/terms")) == "consent_needed"


async def test_a_person_pages_through_their_own_audit_log(
    ada: Person, bob: Person, deps: Deps
) -> None:
    await drain(deps)
    for _ in range(3):
        await bob.log_in()
    whole = (await ada.get("/account/audit")).json()
    assert [each["action"] for each in whole["items"]] == [
        "consent.given",
        "consent.given",
        "session.opened",
        "account.opened",
    ]
    assert whole["next_cursor"] is None
    first = (await ada.get("/account/audit?limit=2")).json()
    second = (await ada.get(f"/account/audit?limit=2&cursor={first['next_cursor']}")).json()
    assert [*first["items"], *second["items"]] == whole["items"]
    assert second["next_cursor"] is None
    assert code_of(await ada.get("/account/audit?cursor=AAAA")) == "invalid_cursor"


async def test_everybody_can_read_the_texts_before_they_agree(
    client: AsyncClient,
) -> None:
    listed = (await client.get("/api/v1/consents")).json()
    assert {each["kind"]: each["version"] for each in listed} == CONSENTS
    assert {each["kind"] for each in listed if each["is_needed"]} == NEEDED
    for each in listed:
        answer = await client.get(urlsplit(each["text"]).path)
        assert answer.headers["content-type"].startswith("text/plain")
        assert f"Version {each['version']}." in answer.text


@pytest.mark.parametrize(
    "path", ["terms/1999-01-01", "else/2026-11-21", "..%2Frules/x", "terms/..%2Fnews"]
)
async def test_a_text_that_there_is_not_is_not_found(client: AsyncClient, path: str) -> None:
    assert (await client.get(f"/api/v1/consents/{path}")).status_code == 404
