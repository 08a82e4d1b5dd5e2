"""Texts that a database cannot keep are refused by name, wherever in a request they are."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct, structs

from cloud_api.db import Database
from cloud_api.deps import Deps
from tests.cloud_api.clients import client_of

pytestmark = pytest.mark.anyio

NUL = "holds the character NUL, which cannot be kept"
NO_TEXT = "is no text: half a character, or bytes that are no UTF-8"


class Note(Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    lines: list[str] = []
    marks: dict[str, str] = {}


@post("/notes")
async def noted(data: JSONBody[Note]) -> Note:
    return data


@post("/several")
async def several(data: JSONBody[list[str]]) -> list[str]:
    return data


@get("/notes/{title:str}")
async def read(
    title: FromPath[str], db: NamedDependency[Database], about: FromQuery[str] = ""
) -> str:
    async with db.transaction() as connection:
        await connection.execute("SELECT %s::text, %s::text", [title, about])
    return title


@pytest.fixture
async def client(deps: Deps) -> AsyncIterator[AsyncClient]:
    async with client_of(structs.replace(deps, routes=[noted, several, read])) as opened:
        yield opened


def refusal(answer: Any) -> tuple[int, str, str, str]:
    (problem,) = answer.json()["errors"]
    return answer.status_code, problem["source"], problem["field"], problem["message"]


@pytest.mark.parametrize(
    ("address", "source", "field", "fault"),
    [
        ("/notes/a%00b", "path", "title", NUL),
        ("/notes/%ed%a0%80", "path", "title", NO_TEXT),
        ("/notes/%ff", "path", "title", NO_TEXT),
        ("/notes/a?about=%00", "query", "about", NUL),
        ("/notes/a?x=1&about=a%ed%bf%bf", "query", "about", NO_TEXT),
        ("/notes/a?about=%c3", "query", "about", NO_TEXT),
        ("/notes/a?unknown=%00", "query", "unknown", NUL),
    ],
)
async def test_an_address_with_what_is_no_text_is_refused(
    client: AsyncClient, address: str, source: str, field: str, fault: str
) -> None:
    answer = await client.get(address)
    assert refusal(answer) == (400, source, field, f"{field} {fault}.")


@pytest.mark.parametrize(
    ("body", "field", "fault"),
    [
        (b'{"title":"a\\u0000"}', "title", NUL),
        (b'{"title":"\\ud800"}', "title", NO_TEXT),
        (b'{"title":"\\udc00 and more"}', "title", NO_TEXT),
        (b'{"title":"a","lines":["b","\\u0000"]}', "lines", NUL),
        (b'{"title":"a","lines":["b","\\ud800"]}', "lines", NO_TEXT),
        (b'{"title":"a","marks":{"b":"\\u0000"}}', "b", NUL),
        (b'{"title":"a","marks":{"b":"\\udfff"}}', "b", NO_TEXT),
        (b'{"title":"a","marks":{"\\ud800":"b"}}', "?", NO_TEXT),
        (b'{"title":"\xed\xa0\x80"}', "title", NO_TEXT),
        (b'{"title":"\xff"}', "title", NO_TEXT),
    ],
)
async def test_a_body_with_what_is_no_text_is_refused(
    client: AsyncClient, body: bytes, field: str, fault: str
) -> None:
    kind = {"content-type": "application/json"}
    answer = await client.post("/notes", content=body, headers=kind)
    assert refusal(answer) == (400, "body", field, f"{field} {fault}.")


async def test_a_list_of_what_is_no_text_is_refused(client: AsyncClient) -> None:
    kind = {"content-type": "application/json"}
    answer = await client.post("/several", content=b'["\\u0000"]', headers=kind)
    assert refusal(answer) == (400, "body", "", f"A text {NUL}.")


@pytest.mark.parametrize("text", ["💥", "é", "\\u0000", "%00", "\u2028"])
async def test_every_text_passes_unchanged(client: AsyncClient, text: str) -> None:
    assert (await client.post("/notes", json={"title": text})).json()["title"] == text
    asked = await client.get("/notes/a", params={"about": text})
    assert asked.status_code == 200, asked.text
