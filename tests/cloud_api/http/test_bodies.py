"""Bodies are JSON, read as they stand, or refused."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import pytest
from httpx import AsyncClient
from litestar import post
from litestar.params import JSONBody
from msgspec import Meta, Struct, structs

from cloud_api.deps import Deps
from cloud_api.http.bodies import is_json
from tests.cloud_api.clients import client_of

pytestmark = pytest.mark.anyio


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    weight: float


class Parcel(Struct, frozen=True, forbid_unknown_fields=True):
    pieces: Annotated[int, Meta(ge=1)]
    is_urgent: bool = False
    parts: list[Part] = []
    id: UUID | None = None
    due_at: datetime | None = None
    marks: dict[str, Any] = {}


@post("/parcels", status_code=200)
async def parcels(data: JSONBody[Parcel]) -> Parcel:
    return data


@post("/several", status_code=200)
async def several(data: JSONBody[list[Parcel]]) -> int:
    return len(data)


@post("/perhaps", status_code=200)
async def perhaps(data: JSONBody[Parcel | None] = None) -> bool:
    return data is not None


@pytest.fixture
async def client(deps: Deps) -> AsyncIterator[AsyncClient]:
    routes = [parcels, several, perhaps]
    async with client_of(structs.replace(deps, routes=routes)) as opened:
        yield opened


async def _sent(client: AsyncClient, path: str, body: str) -> Any:
    return await client.post(path, content=body, headers={"content-type": "application/json"})


async def test_what_is_right_arrives_as_it_is(client: AsyncClient) -> None:
    body = (
        '{"pieces":2,"is_urgent":true,"parts":[{"weight":1.5}],"id":"0198f3c2-7d1e-7c40-9b5a-3f2d6c8e1a47",'
        '"due_at":"2026-06-01T12:00:00Z","marks":{"a":{"a":[1,{"a":2}]}}}'
    )
    answer = await _sent(client, "/parcels", body)
    assert (answer.status_code, answer.text) == (200, body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"pieces":"5"}', "pieces"),
        ('{"pieces":5.0}', "pieces"),
        ('{"pieces":true}', "pieces"),
        ('{"pieces":5,"is_urgent":1}', "is_urgent"),
        ('{"pieces":5,"is_urgent":"true"}', "is_urgent"),
        ('{"pieces":5,"is_urgent":null}', "is_urgent"),
        ('{"pieces":5,"parts":[{"weight":1},{"weight":"2"}]}', "parts[1].weight"),
        ('{"pieces":5,"parts":"[]"}', "parts"),
        ('{"pieces":5,"id":5}', "id"),
        ('{"pieces":5,"due_at":1780315200}', "due_at"),
        ('{"pieces":5,"due_at":"null"}', "due_at"),
    ],
)
async def test_a_value_of_another_kind_is_refused_and_named(
    client: AsyncClient, body: str, field: str
) -> None:
    answer = await _sent(client, "/parcels", body)
    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["field"], problem["source"]) == (400, field, "body")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"pieces":5,"pieces":6}', "pieces"),
        ('{"pieces":5,"\\u0070ieces":5}', "pieces"),
        ('{"pieces":5,"parts":[{"weight":1,"weight":1}]}', "weight"),
        ('{"pieces":5,"marks":{"a":[{"b":{"c":1,"c":2}}]}}', "c"),
    ],
)
async def test_a_name_that_is_there_twice_is_refused(
    client: AsyncClient, body: str, field: str
) -> None:
    answer = await _sent(client, "/parcels", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_field")
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "body",
    [
        '{"%s":1}',
        '{"pieces":5,"marks":{"%s":"\\u0000"}}',
        '{"pieces":5,"marks":{"%s":1,"%s":2}}',
    ],
    ids=["unknown", "no text", "twice"],
)
async def test_a_refusal_does_not_give_back_all_that_was_sent(
    client: AsyncClient, body: str
) -> None:
    answer = await _sent(client, "/parcels", body.replace("%s", "x" * 100_000))
    assert answer.status_code == 400
    assert "xxx" in answer.json()["errors"][0]["field"]
    assert len(answer.content) < 6_000


@pytest.mark.parametrize(
    ("body", "detail"),
    [("", "The body is missing."), ("[]", "Expected `object`, got `array`")],
)
async def test_a_body_that_is_missing_or_another_thing_is_said_to_be(
    client: AsyncClient, body: str, detail: str
) -> None:
    answer = await _sent(client, "/parcels", body)
    assert (answer.status_code, answer.json()["detail"]) == (400, detail)


async def test_a_text_that_the_database_cannot_keep_is_refused(client: AsyncClient) -> None:
    refused = await _sent(client, "/parcels", '{"pieces":1,"marks":{"a":"\\u0000"}}')
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_field")
    # A backslash and five letters.
    kept = await _sent(client, "/parcels", '{"pieces":1,"marks":{"a":"\\\\u0000"}}')
    assert kept.status_code == 200


async def test_numbers_of_any_length_are_read_or_refused(client: AsyncClient) -> None:
    huge = await _sent(client, "/parcels", '{"pieces":1' + "0" * 10_000 + "}")
    assert huge.status_code == 400
    small = await _sent(client, "/parcels", '{"pieces":1,"marks":{"pi":3.14e-2}}')
    assert small.json()["marks"] == {"pi": 0.0314}


async def test_a_list_and_a_body_that_may_be_left_out_are_read_strictly_too(
    client: AsyncClient,
) -> None:
    assert (await _sent(client, "/several", '[{"pieces":1},{"pieces":2}]')).text == "2"
    assert (await _sent(client, "/several", '[{"pieces":1},{"pieces":"2"}]')).status_code == 400
    assert (await _sent(client, "/perhaps", "")).text == "false"
    assert (await _sent(client, "/perhaps", '{"pieces":1}')).text == "true"
    assert (await _sent(client, "/perhaps", '{"pieces":"1"}')).status_code == 400


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", True),
        ("Application/JSON; charset=UTF-8", True),
        ('application/json;charset="utf-8"', True),
        ("application/merge-patch+json", True),
        ("application/json; charset=utf-16", False),
        ("application/x-www-form-urlencoded", False),
        ("text/plain", False),
        ("text/json", False),
        ("multipart/form-data; boundary=application/json", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_json_is_json_in_utf_8(content_type: str, expected: bool) -> None:
    assert is_json(content_type) is expected
