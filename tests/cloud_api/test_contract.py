"""The whole OpenAPI document against the application it describes: what it allows, and much that it does not.

Requests are drawn from the document itself, so a route that is added is tested by being there. Every answer must be one
that the document names, in the shape it gives, and never a failure of ours.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import schemathesis
from httpx import Response
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from litestar.testing import TestClient
from litestar.types import ASGIApp
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cloud_api.app import BODY_BYTES_MAX
from tests.cloud_api.accounts.people import AGREED
from tests.cloud_api.strangers import Api, opened_api

# With some fifty operations, asked as nobody and as somebody, this stays well below a minute.
EXAMPLES = 5
SCENARIOS = 15
STEPS = 8
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
BOUNDED = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # shrinking what fails would take minutes
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def api(server_url: str, template: str) -> Iterator[Api]:
    with opened_api(server_url, template) as opened:
        yield opened


@pytest.fixture(scope="module")
def document(api: Api) -> BaseSchema:
    return schemathesis.openapi.from_dict(api.client.get("/api/v1/openapi.json").json())


def operations(document: BaseSchema) -> list[APIOperation[Any, Any, Any, Any]]:
    return [cast("Any", found).ok() for found in document.get_all_operations()]


def sent(client: TestClient[ASGIApp], case: Any, token: str | None) -> Response:
    request = case.as_transport_kwargs(base_url=str(client.base_url))
    headers = dict(request.pop("headers", None) or {})
    cookies = request.pop("cookies", None) or {}
    if cookies:  # the client would keep them for the next request
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    if isinstance(request.get("data"), str | bytes):
        request["content"] = request.pop("data")
    if token is not None and takes_token(case.operation):
        headers["Authorization"] = f"Bearer {token}"
    return client.request(**request, headers=headers)


def takes_token(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    return {"accessToken": []} in operation.definition.raw.get("security", [])


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=str)
@pytest.mark.parametrize("who", ["nobody", "somebody"])
def test_every_answer_is_one_that_the_document_names(
    api: Api, document: BaseSchema, subtests: pytest.Subtests, mode: GenerationMode, who: str
) -> None:
    for operation in operations(document):
        takes_nothing = not operation.body and not list(operation.iter_parameters())
        if mode is GenerationMode.NEGATIVE and takes_nothing:
            continue  # there is nothing to get wrong
        # Somebody new for each operation: some of them end a session or an account.
        token = api.token() if who == "somebody" else None
        with subtests.test(operation.label):
            conforms(api, operation, mode, token)


def conforms(
    api: Api,
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    token: str | None,
) -> None:
    @seed(7)
    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.validate_response(sent(api.client, case, token), checks=CHECKS)

    try:
        answered()
    except Unsatisfiable:
        # Whatever is put into a path or a query is text, so that some operations cannot be asked wrongly.
        assert mode is GenerationMode.NEGATIVE


def test_what_one_answer_gives_can_be_asked_of_the_next(api: Api, document: BaseSchema) -> None:
    machine: Any = document.as_state_machine()

    class Walk(machine):  # type: ignore[misc] # made from the document
        def setup(self) -> None:
            self.token = api.token()

        def call(self, case: Any, **_: Any) -> Any:
            return schemathesis.Response.from_any(sent(api.client, case, self.token))

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Walk.run(settings=settings(BOUNDED, max_examples=SCENARIOS))


def test_a_token_is_needed_where_the_document_says_so_and_nowhere_else(
    api: Api, document: BaseSchema, subtests: pytest.Subtests
) -> None:
    for operation in operations(document):
        with subtests.test(operation.label):
            security = operation.definition.raw.get("security", [])
            answer = asked(api, operation, None, content=b"{}" if operation.body else b"")
            if security == [{"accessToken": []}] and not operation.body:
                assert answer.status_code == 401
            if not security:
                assert answer.status_code < 400 or answer.json()["code"] != "not_authenticated"


def test_a_client_made_from_the_document_reads_changes_and_repeats(
    api: Api, document: BaseSchema
) -> None:
    token = api.token()
    find = cast("Any", document).find_operation_by_path
    read = find("GET", "/api/v1/account")
    change = find("PATCH", "/api/v1/account")
    export = find("POST", "/api/v1/account/exports")
    assert read
    assert change
    assert export
    seen = sent(api.client, read.Case(), token)
    tag = {"If-Match": seen.headers["etag"]}
    assert set(tag) <= {each.name for each in change.headers}
    changed = sent(api.client, change.Case(headers=tag, body={"name": "Ada"}), token)
    assert (changed.status_code, changed.json()["name"]) == (200, "Ada")
    key = {"Idempotency-Key": "7f1c2a54-8f0e-4f0c-9d52-0b8c6a0e6a11"}
    assert set(key) <= {each.name for each in export.headers}
    first, second = (sent(api.client, export.Case(headers=key), token) for _ in range(2))
    assert first.json() == second.json()
    for operation, answer in ((read, seen), (change, changed), (export, second)):
        told = resolved(operation, answer.status_code)["headers"]
        own = {"etag", "idempotency-replayed", "ratelimit", "ratelimit-policy", "x-request-id"}
        assert own & set(answer.headers) == {name.lower() for name in told} & set(answer.headers)


DEEP = 20_000
JSON = "application/json"
BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", JSON),
    "half an object": (b'{"mail": "a@exam', JSON),
    "a list": (b"[]", JSON),
    "a text": (b'"mail"', JSON),
    "a number": (b"1e400", JSON),
    "null": (b"null", JSON),
    "not a number": (b'{"mail": NaN}', JSON),
    "numbers for texts": (
        b'{"mail": 1, "password": 2, "token": 3, "code": 4, "refresh_token": 5}',
        JSON,
    ),
    "lists for texts": (
        b'{"mail": ["a@b.example"], "password": [], "token": {}, "code": [[]]}',
        JSON,
    ),
    "an unknown field": (b'{"is_admin": true}', JSON),
    "a field twice": (b'{"mail": "a@b.example", "mail": "c@d.example", "mail": 3}', JSON),
    "NUL": (
        b'{"mail": "a\\u0000@b.example", "token": "\\u0000", "name": "\\u0000", "code": "\\u0000"}',
        JSON,
    ),
    "half a surrogate pair": (
        b'{"mail": "a\\ud800@b.example", "token": "\\ud800", "code": "\\udfff"}',
        JSON,
    ),
    "bytes that are no UTF-8": (b'{"mail": "\xff\xfe\x80"}', JSON),
    "UTF-16": ('{"mail": "a@b.example"}'.encode("utf-16"), JSON),
    "another charset": (b'{"mail": "a@b.example"}', "application/json; charset=utf-16"),
    "a byte order mark": (b'\xef\xbb\xbf{"mail": "a@b.example"}', JSON),
    "deep lists": (b"[" * DEEP, JSON),
    "deep objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, JSON),
    "too much": (b'{"mail": "' + b"a" * BODY_BYTES_MAX + b'"}', JSON),
    "a form": (b"mail=a%40b.example&password=x", "application/x-www-form-urlencoded"),
    "XML": (b"<mail>a@b.example</mail>", "application/xml"),
    "a type that is none": (b"{}", "nonsense"),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_cannot_be_used_is_refused_by_a_problem_and_writes_nothing(
    api: Api, document: BaseSchema, subtests: pytest.Subtests, body: str
) -> None:
    content, kind = BODIES[body]
    before = api.jobs()
    token = api.token()
    for operation in operations(document):
        if not operation.body or (kind != JSON and kind in taken(operation)):
            continue
        with subtests.test(operation.label):
            answer = asked(api, operation, token, content=content, headers=[("content-type", kind)])

            assert 400 <= answer.status_code < 500, answer.text
            assert str(answer.status_code) in named(operation), answer.text
            assert answer.headers["content-type"] in kinds(operation, answer.status_code)
            assert set(answer.json()) >= {"type", "title", "status", "code", "request_id"}
    assert api.jobs() == before


HEADERS: dict[str, list[tuple[str, str]]] = {
    "two tokens": [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    "an endless token": [("authorization", "Bearer " + "a" * 60_000)],
    "a token of strange bytes": [("authorization", "Basic \xff\xfe")],
    "two types of content": [("content-type", JSON), ("content-type", "text/plain")],
    "two request ids": [("x-request-id", "one-of-two-ids"), ("x-request-id", "two-of-two-ids")],
    "an endless language": [("accept-language", "de"), ("accept-language", "x" * 5000)],
    "two idempotency keys": [("idempotency-key", "0" * 16), ("idempotency-key", "1" * 16)],
    "half an idempotency key": [("idempotency-key", "\xff")],
    "three versions": [("if-match", '"a"'), ("if-match", "*"), ("if-match", "W/")],
    "two traces": [("traceparent", "00-" + "0" * 200), ("traceparent", "\xe9")],
    "endless cookies": [("cookie", "session=\xff; " * 300)],
    "an address of SQL": [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "'; DROP TABLE accounts"),
    ],
    "nothing acceptable": [("accept", "application/xml"), ("accept", "*/*;q=x")],
}


@pytest.mark.parametrize("headers", HEADERS)
def test_headers_that_come_twice_or_make_no_sense_fail_nothing(
    api: Api, document: BaseSchema, subtests: pytest.Subtests, headers: str
) -> None:
    token = api.token()
    for operation in operations(document):
        with subtests.test(operation.label):
            content = b"{}" if operation.body else b""
            answer = asked(api, operation, token, content=content, headers=HEADERS[headers])

            assert answer.status_code < 500, answer.text
            assert str(answer.status_code) in named(operation), answer.text


def test_the_same_sign_up_at_the_same_moment_is_one(api: Api) -> None:
    body = {"mail": "twice@example.org", "password": "seven green lanterns above Oslo", **AGREED}
    headers = {"idempotency-key": "at-the-same-moment"}
    before = api.jobs()

    def sign_up(_: int) -> Response:
        return api.client.post("/api/v1/auth/sign-up", json=body, headers=headers)

    with ThreadPoolExecutor(max_workers=8) as threads:
        answers = list(threads.map(sign_up, range(8)))

    assert {answer.status_code for answer in answers} <= {202, 409}
    done = [answer for answer in answers if answer.status_code == 202]
    assert sum("idempotency-replayed" not in answer.headers for answer in done) == 1
    assert api.jobs() == before + 1


def asked(
    api: Api,
    operation: APIOperation[Any, Any, Any, Any],
    token: str | None,
    *,
    content: bytes,
    headers: list[tuple[str, str]] | None = None,
) -> Response:
    path = operation.path
    for each in operation.path_parameters:
        path = path.replace(f"{{{each.name}}}", "0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20")
    given = list(headers or [])
    if token is not None and not any(name == "authorization" for name, _ in given):
        given.append(("authorization", f"Bearer {token}"))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in given]
    return api.client.request(operation.method.upper(), path, content=content, headers=raw)


def taken(operation: APIOperation[Any, Any, Any, Any]) -> set[str]:
    """The media types that a body may have."""
    return set(operation.definition.raw["requestBody"]["content"])


def kinds(operation: APIOperation[Any, Any, Any, Any], status: int) -> set[str]:
    """The media types that the document names for this status."""
    return set(resolved(operation, status)["content"])


def resolved(operation: APIOperation[Any, Any, Any, Any], status: int) -> dict[str, Any]:
    response: dict[str, Any] = operation.definition.raw["responses"][str(status)]
    if "$ref" in response:
        name = response["$ref"].rpartition("/")[2]
        response = operation.schema.raw_schema["components"]["responses"][name]
    return response


def named(operation: APIOperation[Any, Any, Any, Any]) -> set[str]:
    """The statuses that the document names."""
    return set(operation.definition.raw["responses"])
