"""The reference as a page, and what is beside it."""

import pytest
from httpx import AsyncClient

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/api/v1/unknown", "/api/v1/unknown.json", "/api/v1/a/b", "/x"])
async def test_what_is_not_there_is_a_problem_everywhere(client: AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (
        404,
        "application/problem+json",
    )
    assert answer.json()["code"] == "not_found"


async def test_the_front_door_leads_to_the_reference(client: AsyncClient) -> None:
    answer = await client.get("/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/api/v1/reference")
    assert "Sunaiva API" in answer.text
