"""What every endpoint shares, tried on routes that are here for it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import uuid4

import msgspec
import pytest
from httpx import AsyncClient
from litestar import Request, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct, structs

from cloud_api.app import BODY_BYTES_MAX
from cloud_api.db import Database
from cloud_api.deps import Deps
from cloud_api.http.cursors import Cursors, Page
from cloud_api.http.etags import etag, require_match
from cloud_api.http.idempotency import CREATES, LEASE_SECONDS, done_here
from cloud_api.http.rate_limits import RateLimit
from cloud_api.http.refusals import InvalidFieldError
from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    QuotaExceededError,
)
from tests.cloud_api.clients import client_of

pytestmark = pytest.mark.anyio


class Address(Struct, frozen=True, forbid_unknown_fields=True):
    city: Annotated[str, Meta(min_length=1, max_length=80)]


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    pieces: Annotated[int, Meta(ge=1, le=99)]
    to: Address | None = None


class Made(Struct, frozen=True):
    id: str
    pieces: int


FAILURES: dict[str, tuple[Exception, int, str]] = {
    "not-found": (NotFoundError("No such order."), 404, "not_found"),
    "conflict": (ConflictError("It was changed."), 409, "conflict"),
    "field": (InvalidFieldError("pieces", "One at least."), 400, "invalid_field"),
    "forbidden": (ForbiddenError("Not yours."), 403, "forbidden"),
    "quota": (QuotaExceededError("Your plan has three devices."), 403, "quota_exceeded"),
    "corrupt": (CorruptError("The row is damaged."), 500, "corrupt"),
    "unforeseen": (ZeroDivisionError("card 4242"), 500, "unexpected"),
}


@get("/fail/{name:str}")
async def fail(name: FromPath[str]) -> None:
    raise FAILURES[name][0]


@post("/orders", opt={"idempotent": True})
async def order(data: JSONBody[Order], db: NamedDependency[Database]) -> Made:
    async with db.transaction() as connection:
        cursor = await connection.execute(
            "INSERT INTO events (name, body) VALUES ('tests.order', '{}') RETURNING id"
        )
        row = await cursor.fetchone()
    assert row is not None
    if data.pieces == 13:
        raise ConflictError("Thirteen is taken.")
    return Made(str(row[0]), data.pieces)


@post("/bound", opt=CREATES)
async def bound(data: JSONBody[Order], db: NamedDependency[Database]) -> Made:
    """Seven pieces fail until something was mended; nine take as long as a lease."""
    async with db.transaction() as connection:
        await connection.execute("INSERT INTO events (name, body) VALUES ('tests.order', '{}')")
        if data.pieces == 9:
            await connection.execute(
                "UPDATE idempotency_keys SET created_at = created_at + make_interval(secs => %s)",
                [LEASE_SECONDS],
            )
        await done_here(connection)
        mended = await connection.execute("SELECT FROM events WHERE name = 'tests.mended'")
        if data.pieces == 7 and not mended.rowcount:
            raise ZeroDivisionError("as if the process had died")
    return Made(str(uuid4()), data.pieces)


@post("/anything")
async def anything(data: JSONBody[dict[str, Any]]) -> dict[str, int]:
    return {"fields": len(data)}


@get("/numbers")
async def numbers(
    cursors: NamedDependency[Cursors], cursor: FromQuery[str | None] = None
) -> Page[int]:
    first = cursors.read("numbers", cursor, int) if cursor else 0
    return Page([first, first + 1], cursors.write("numbers", first + 2) if first < 4 else None)


@put("/note")
async def edit(request: Request[Any, Any, Any]) -> str:
    require_match(request, etag("present"))
    return "edited"


@post("/guess", opt={"rate": RateLimit(name="guess", requests=3, seconds=3600)})
async def guess() -> None:
    return None


@pytest.fixture
async def client(deps: Deps) -> AsyncIterator[AsyncClient]:
    routes = [fail, order, bound, anything, numbers, edit, guess]
    async with client_of(structs.replace(deps, routes=routes)) as opened:
        yield opened


@pytest.mark.parametrize("name", FAILURES)
async def test_each_family_has_its_status_and_code(client: AsyncClient, name: str) -> None:
    error, status, code = FAILURES[name]
    answer = await client.get(f"/fail/{name}")
    body = answer.json()
    assert (answer.status_code, body["code"], body["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert (str(error) in answer.text) == (code != "unexpected")


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("de-AT, en;q=0.5", "Unter dieser Adresse gibt es nichts."),
        ("en;q=0.1, fr", "Il n'y a rien à cette adresse."),
        ("pt, es;q=0.8", "No hay nada en esta dirección."),
        ("zh-Hant-TW", "此地址没有内容。"),
        ("xx;q=oops", "There is nothing at this address."),
    ],
)
async def test_a_problem_is_told_in_the_persons_language(
    client: AsyncClient, language: str, sentence: str
) -> None:
    answer = await client.get("/nowhere", headers={"accept-language": language})
    assert (answer.status_code, answer.json()["localized_detail"]) == (404, sentence)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"pieces": 0}, "pieces"),
        ({"pieces": "many"}, "pieces"),
        ({}, "pieces"),
        ({"pieces": 1, "colour": "red"}, "colour"),
        ({"pieces": 1, "to": {"city": ""}}, "to.city"),
    ],
    ids=["too small", "no number", "missing", "unknown", "inside"],
)
async def test_a_wrong_body_names_the_field(
    client: AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await client.post("/orders", json=body)
    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["field"], problem["source"]) == (400, field, "body")
    assert problem["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"pieces": 1',
        b"\xff\xfe",
        b'{"pieces": "\xff"}',
        b"[]",
        b"null",
        b"[" * 100_000,
    ],
    ids=["empty", "open", "cut", "not UTF-8", "not UTF-8 inside", "a list", "null", "deep"],
)
@pytest.mark.parametrize("path", ["/orders", "/anything"])
async def test_a_body_that_is_no_such_thing_is_refused(
    client: AsyncClient, path: str, body: bytes
) -> None:
    answer = await client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text


async def test_a_body_nested_too_deeply_is_refused_and_nothing_breaks(client: AsyncClient) -> None:
    deep = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    answer = await client.post(
        "/anything", content=deep, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "nested_too_deep")
    assert (await client.get("/health/live")).status_code == 200


async def test_a_body_that_is_too_large_is_refused(client: AsyncClient) -> None:
    large = b'{"a":"' + b"x" * BODY_BYTES_MAX + b'"}'
    answer = await client.post(
        "/anything", content=large, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_request_keeps_its_callers_id_only_if_it_is_harmless(client: AsyncClient) -> None:
    kept = await client.get("/health/live", headers={"x-request-id": "trace-0815-ok"})
    assert kept.headers["x-request-id"] == "trace-0815-ok"
    for given in ("short", "a" * 65, "with space in it", "semi;colon;here"):
        answer = await client.get("/health/live", headers={"x-request-id": given})
        assert answer.headers["x-request-id"] != given


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/fail/unforeseen"])
async def test_every_answer_has_the_security_headers(client: AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


async def test_a_list_is_read_page_by_page(client: AsyncClient) -> None:
    found: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get("/numbers", params={"cursor": cursor} if cursor else {})).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert found == [0, 1, 2, 3, 4, 5]


async def test_a_cursor_that_was_changed_or_is_of_another_list_is_refused(
    client: AsyncClient, deps: Deps
) -> None:
    good = deps.cursors.write("numbers", 2)
    for bad in ("x", "ä", good[:-2], good + "AAAA", "A" * 600, deps.cursors.write("letters", 2)):
        answer = await client.get("/numbers", params={"cursor": bad})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor"), bad


async def test_an_edit_needs_the_version_it_was_made_on(client: AsyncClient) -> None:
    assert (await client.put("/note")).json()["code"] == "precondition_required"
    stale = await client.put("/note", headers={"if-match": etag("former")})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert (
        await client.put("/note", headers={"if-match": f'"x", {etag("present")}'})
    ).status_code == 200


async def test_a_route_with_a_limit_refuses_when_it_is_reached_and_says_when_to_come_back(
    client: AsyncClient,
) -> None:
    answers = [await client.post("/guess") for _ in range(4)]
    assert [each.status_code for each in answers] == [201, 201, 201, 429]
    assert answers[0].headers["ratelimit-policy"] == '"anonymous";q=120;w=60, "guess";q=3;w=3600'
    assert answers[1].headers["ratelimit"].startswith('"guess";r=1;t=')
    assert 0 < int(answers[3].headers["retry-after"]) <= 3600
    assert answers[3].headers["ratelimit"].startswith('"guess";r=0;t=')
    assert answers[3].json()["code"] == "rate_limited"


async def _orders(db: Database) -> int:
    async with db.reading() as connection:
        cursor = await connection.execute("SELECT count(*)::int FROM events")
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_a_request_sent_twice_is_done_once(client: AsyncClient, deps: Deps) -> None:
    headers = {"idempotency-key": str(uuid4())}
    first = await client.post("/orders", json={"pieces": 2}, headers=headers)
    second = await client.post("/orders", json={"pieces": 2}, headers=headers)
    assert (second.status_code, second.json()) == (first.status_code, first.json())
    assert second.headers["idempotency-replayed"] == "true"
    assert await _orders(deps.db) == 1


async def test_a_key_is_good_for_one_request_only(client: AsyncClient) -> None:
    headers = {"idempotency-key": str(uuid4())}
    await client.post("/orders", json={"pieces": 2}, headers=headers)
    other = await client.post("/orders", json={"pieces": 3}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_refused_request_frees_its_key(client: AsyncClient) -> None:
    headers = {"idempotency-key": str(uuid4())}
    for _ in range(2):
        refused = await client.post("/orders", json={"pieces": 13}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert (await client.post("/orders", json={"pieces": 1}, headers=headers)).status_code == 201


@pytest.mark.usefixtures("at_once")
async def test_the_same_request_many_times_at_once_is_done_once(
    client: AsyncClient, deps: Deps
) -> None:
    headers = {"idempotency-key": str(uuid4())}
    answers = await asyncio.gather(
        *(client.post("/orders", json={"pieces": 2}, headers=headers) for _ in range(8))
    )
    assert {each.status_code for each in answers} <= {201, 409}
    assert (
        sum(
            each.status_code == 201 and "idempotency-replayed" not in each.headers
            for each in answers
        )
        == 1
    )
    assert await _orders(deps.db) == 1


async def test_a_request_that_ended_without_an_answer_is_not_done_again(
    client: AsyncClient, deps: Deps
) -> None:
    headers = {"idempotency-key": str(uuid4())}
    await client.post("/orders", json={"pieces": 2}, headers=headers)
    async with deps.db.transaction() as connection:
        await connection.execute(
            "UPDATE idempotency_keys SET status = NULL, answer = NULL, created_at = now() - interval '2 minutes'"
        )
    answer = await client.post("/orders", json={"pieces": 2}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_outcome_unknown")
    assert await _orders(deps.db) == 1


async def test_a_request_that_crashed_before_its_work_was_committed_is_done_when_its_lease_is_over(
    client: AsyncClient, deps: Deps
) -> None:
    headers = {"idempotency-key": str(uuid4())}
    await client.post("/bound", json={"pieces": 7}, headers=headers)
    assert await _orders(deps.db) == 0
    early = await client.post("/bound", json={"pieces": 7}, headers=headers)
    assert (early.status_code, early.json()["code"]) == (409, "idempotency_still_running")
    await _later(deps, seconds=LEASE_SECONDS + 1)
    other = await client.post("/bound", json={"pieces": 8}, headers=headers)
    assert other.json()["code"] == "idempotency_key_reused"
    await client.post("/bound", json={"pieces": 7}, headers=headers)
    assert await _orders(deps.db) == 0, "it failed again"
    async with deps.db.transaction() as connection:
        await connection.execute("INSERT INTO events (name, body) VALUES ('tests.mended', '{}')")
    await _later(deps, seconds=LEASE_SECONDS + 1)
    done = await client.post("/bound", json={"pieces": 7}, headers=headers)
    assert (done.status_code, "idempotency-replayed" in done.headers) == (201, False)
    again = await client.post("/bound", json={"pieces": 7}, headers=headers)
    assert (again.json(), "idempotency-replayed" in again.headers) == (done.json(), True)
    assert await _orders(deps.db) == 2


async def test_work_that_was_committed_is_never_done_again_though_its_answer_was_lost(
    client: AsyncClient, deps: Deps
) -> None:
    headers = {"idempotency-key": str(uuid4())}
    await client.post("/bound", json={"pieces": 2}, headers=headers)
    await _later(deps, seconds=LEASE_SECONDS + 1)
    async with deps.db.transaction() as connection:
        await connection.execute("UPDATE idempotency_keys SET status = NULL, answer = NULL")
    answer = await client.post("/bound", json={"pieces": 2}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_outcome_unknown")
    assert "was done" in answer.json()["detail"]
    assert await _orders(deps.db) == 1


async def test_work_that_outlives_its_lease_does_not_commit_beside_the_repetition(
    client: AsyncClient, deps: Deps
) -> None:
    headers = {"idempotency-key": str(uuid4())}
    answer = await client.post("/bound", json={"pieces": 9}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_still_running")
    assert await _orders(deps.db) == 0


async def test_an_answer_is_kept_so_that_only_its_key_opens_it(
    client: AsyncClient, deps: Deps
) -> None:
    made = await client.post(
        "/bound", json={"pieces": 2}, headers={"idempotency-key": str(uuid4())}
    )
    async with deps.db.transaction() as connection:
        cursor = await connection.execute("SELECT answer, key, request FROM idempotency_keys")
        kept = b"".join((await cursor.fetchall())[0])
    assert made.json()["id"].encode() not in kept


async def test_what_is_kept_of_a_request_does_not_let_a_password_in_it_be_guessed(
    client: AsyncClient, deps: Deps
) -> None:
    body = b'{"pieces":3}'
    headers = {"idempotency-key": str(uuid4()), "content-type": "application/json"}
    assert (await client.post("/bound", content=body, headers=headers)).status_code == 201
    async with deps.db.transaction() as connection:
        cursor = await connection.execute("SELECT request FROM idempotency_keys")
        ((kept,),) = await cursor.fetchall()
    plain = (body, b"\n" + body, b"request\n\n" + body)
    assert bytes(kept) not in [hashlib.sha256(each).digest() for each in plain]


async def _later(deps: Deps, *, seconds: int) -> None:
    """The leases of all keys, so much later."""
    async with deps.db.transaction() as connection:
        await connection.execute(
            "UPDATE idempotency_keys SET created_at = created_at - make_interval(secs => %s)",
            [seconds],
        )


async def test_a_key_that_could_be_guessed_is_refused(client: AsyncClient) -> None:
    answer = await client.post("/orders", json={"pieces": 2}, headers={"idempotency-key": "1"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_the_reference_and_the_document_know_the_same_requests(client: AsyncClient) -> None:
    document = (await client.get("/api/v1/openapi.json")).json()
    page = (await client.get("/api/v1/reference")).text
    assert document["openapi"].startswith("3.1")
    assert "/orders" in document["paths"]
    assert all(path in page for path in document["paths"])
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert msgspec.json.encode(document)
