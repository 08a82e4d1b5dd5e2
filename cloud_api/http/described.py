"""What the API's document says of headers and of logging in, so that a client made from it can do all that a person can.

It follows from what an operation may refuse with: one that answers 428 wants If-Match, one that answers 422 takes an
Idempotency-Key, one that answers 429 tells its limits. This module must never name a header that is not sent or read.
"""

from typing import Any

from litestar.openapi.spec import Components, SecurityScheme

from cloud_api.http.idempotency import KEY

LOGGED_IN: list[dict[str, list[str]]] = [{"accessToken": []}]
"""For a route's `security`. Routes with a guard have it without saying so."""
LOGGED_IN_OR_NOT: list[dict[str, list[str]]] = [{}, *LOGGED_IN]

SCHEMES = Components(
    security_schemes={
        "accessToken": SecurityScheme(
            type="http",
            scheme="bearer",
            bearer_format="JWT",
            description="`access_token` of POST /api/v1/auth/login, or of a terminal's POST /api/v1/auth/device/token. It is good "
            "for 15 minutes; POST /api/v1/auth/refresh gives the next. Some operations ask besides that one has proved within "
            "ten minutes that it is oneself, by one of /api/v1/account/step-up.",
        )
    }
)

_ASKED: dict[str, dict[str, Any]] = {
    "428": {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The `ETag` of what was read, or `*` to change it whatever it is.",
        "schema": {"type": "string"},
        "example": '"0a4f5e2f7c1b4d0c9a6e8b3d5f7a9c1e"',
    },
    "422": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The same request under the same key is done once, and answered alike for 24 hours. A UUID is good.",
        "schema": {"type": "string", "pattern": f"^{KEY.pattern}$"},
        "example": "7f1c2a54-8f0e-4f0c-9d52-0b8c6a0e6a11",
    },
}

_TEXT = {"type": "string"}
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "What the log calls this request; the same that was sent, if it was one.",
        "required": True,
        "schema": _TEXT,
    },
    "RateLimit": {
        "description": "What is left of the nearest limit and the seconds until it begins anew, as `r` and `t` (IETF draft 10).",
        "schema": _TEXT,
    },
    "RateLimit-Policy": {
        "description": "The limits that count here: requests and seconds, as `q` and `w`.",
        "schema": _TEXT,
    },
    "Retry-After": {
        "description": "Seconds after which it is worth asking again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "How to log in: by a bearer token.", "schema": _TEXT},
    "ETag": {
        "description": "The version of what is shown, for `If-Match`.",
        "required": True,
        "schema": _TEXT,
    },
    "Idempotency-Replayed": {
        "description": "`true` on an answer that was given before under this Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}


def with_headers(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, whose operations name the headers that they read and send."""
    paths = {
        path: {method: _operation(operation, method, item) for method, operation in item.items()}
        for path, item in document["paths"].items()
    }
    components = {**document.get("components", {}), "headers": _HEADERS}
    return {**document, "paths": paths, "components": components}


def _operation(operation: dict[str, Any], method: str, item: dict[str, Any]) -> dict[str, Any]:
    responses = operation["responses"]
    asked = [parameter for status, parameter in _ASKED.items() if status in responses]
    of_all = ["X-Request-Id"]
    if "429" in responses:
        of_all += ["RateLimit", "RateLimit-Policy"]
    good = []
    # What is changed under If-Match is read under the same path, with its ETag.
    if "428" in responses or (method == "get" and _is_edited(item)):
        good.append("ETag")
    if "422" in responses:
        good.append("Idempotency-Replayed")
    described = {
        status: _with(response, [*of_all, *(good if status < "300" else _of_refusal(status))])
        for status, response in responses.items()
    }
    said = {**operation, "responses": described}
    if asked:
        said["parameters"] = [*operation.get("parameters", []), *asked]
    return said


def _is_edited(item: dict[str, Any]) -> bool:
    return any("428" in operation["responses"] for operation in item.values())


def _of_refusal(status: str) -> list[str]:
    return {"401": ["WWW-Authenticate"], "429": ["Retry-After"], "503": ["Retry-After"]}.get(
        status, []
    )


def _with(response: dict[str, Any], names: list[str]) -> dict[str, Any]:
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {**response, "headers": {**response.get("headers", {}), **headers}}
