"""The API's document: what it says of refusals, and that the kept copy is the present one."""

from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # ships no types
import pytest
from litestar import get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from msgspec import Struct, structs

from cloud_api.app import document, litestar
from cloud_api.deps import Deps
from cloud_api.http.refusing import refusals, with_shared_refusals
from cloud_api.settings import load

ROOT = Path(__file__).parents[3]


class Order(Struct, frozen=True):
    pieces: int


def guard(_: ASGIConnection[Any, Any, Any, Any], __: BaseRouteHandler) -> None: ...


@get("/plain")
async def plain() -> None: ...


@get("/orders/{number:int}", guards=[guard])
async def order(number: FromPath[int]) -> Order:
    return Order(number)


@post("/orders", opt={"idempotent": True}, responses=refusals(403))
async def make(data: JSONBody[Order]) -> Order:
    return data


@pytest.fixture
def described(deps: Deps) -> dict[str, Any]:
    app = litestar(structs.replace(deps, routes=[plain, order, make]))
    return with_shared_refusals(app.openapi_schema.to_schema())


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/plain", "get", {"400", "429", "503"}),
        ("/orders/{number}", "get", {"400", "401", "403", "404", "429", "503"}),
        ("/orders", "post", {"400", "403", "408", "409", "413", "415", "422", "429", "503"}),
    ],
)
def test_an_operation_lists_what_it_may_refuse_with(
    described: dict[str, Any], path: str, method: str, statuses: set[str]
) -> None:
    responses = described["paths"][path][method]["responses"]
    assert {status for status in responses if status >= "400"} == statuses


def test_every_refusal_is_a_problem_with_an_example_of_one(described: dict[str, Any]) -> None:
    problem = {
        **described["components"]["schemas"]["Problem"],
        "components": described["components"],
    }
    for path in ("/plain", "/orders/{number}", "/orders"):
        for operation in described["paths"][path].values():
            for status, named in operation["responses"].items():
                if status < "400":
                    continue
                assert named == {"$ref": f"#/components/responses/Refused{status}"}
                response = described["components"]["responses"][f"Refused{status}"]
                (content,) = response["content"].items()
                assert content[0] == "application/problem+json"
                assert content[1]["schema"] == {"$ref": "#/components/schemas/Problem"}
                (example,) = content[1]["examples"].values()
                jsonschema.validate(example["value"], problem)
                assert example["value"]["status"] == int(status)


def test_the_kept_document_is_the_present_one() -> None:
    kept = (ROOT / "docs" / "api" / "openapi.json").read_bytes()
    assert kept == document(), "sunaiva-cloud openapi > docs/api/openapi.json"


def test_making_the_document_leaves_no_folder() -> None:
    folder = load({}).home / "blobs"
    was_there = folder.exists()
    document()
    assert folder.exists() == was_there
