"""What the API's document says of refusals: each operation lists the statuses it may refuse with, and the problem they come as.

Most follow from what an operation is: one that takes a body may be sent a wrong one. What does not follow, a route says by
`responses=refusals(409, …)`. The document must never promise fewer than there are: a program is written against it.
"""

from http import HTTPStatus
from typing import Any

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Example
from litestar.plugins.base import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

from cloud_api.http.described import LOGGED_IN, with_headers
from cloud_api.http.problems import (
    CODES,
    MEDIA_TYPE,
    OAUTH_MEDIA_TYPE,
    TYPE,
    OAuthProblem,
    Problem,
    oauth_error,
)

_SENTENCES = {
    400: "Something in the request cannot be used; `errors` names the fields. Nothing was changed.",
    401: "Nobody known: a token, password or code is missing, wrong or over.",
    403: "Known, and not allowed to do this now.",
    404: "There is nothing of this name that is the caller's.",
    408: "The body took too long to arrive. Nothing was changed.",
    409: "It collides with what there is, or the first request with this Idempotency-Key has not been answered.",
    410: "It is not kept any more; `about` names what stands in for it, where anything does.",
    412: "It was changed since it was read.",
    413: "The body is too large.",
    415: "The body is of a kind that is not understood.",
    422: "This Idempotency-Key was used for another request.",
    428: "If-Match is missing.",
    429: "Too many requests or attempts; `Retry-After` says when to go on.",
    503: "Not now; `Retry-After` says when. Nothing was changed, unless `code` is `outcome_unknown`.",
    507: "There is no more room for it. Nothing was stored.",
}


_SHARED = {"Problem": "Refused", "OAuthProblem": "OAuthRefused"}
"""What responses of a schema are named by in the document, with their status behind."""


def refusals(*statuses: int) -> dict[int, ResponseSpec]:
    """For a route's `responses`: what it may refuse with besides what follows from its form."""
    return {status: _spec(status) for status in statuses}


class Refusing(ReceiveRoutePlugin):
    """Gives every route that is registered the refusals that follow from its form."""

    def receive_route(self, route: BaseRoute) -> None:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                found = sorted(_following(handler, has_path_values=bool(route.path_parameters)))
                told = {**refusals(*found), **(handler.responses or {})}
                if handler.opt.get("oauth"):
                    told = {status: _oauth_spec(status) for status in told}
                handler.responses = told
                # Everything there is about somebody who is logged in.
                is_own = route.path.startswith("/api/v1/account") or bool(handler.resolve_guards())
                if is_own and handler.security is None:
                    handler.security = LOGGED_IN


class ShownDocument(JsonRenderPlugin):
    """Shows the document with its headers, and with each refusal once."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, shown(openapi_schema))


def shown(document: dict[str, Any]) -> dict[str, Any]:
    return with_shared_refusals(with_headers(document))


def with_shared_refusals(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, in which operations name refusals that stand among its components: most are alike."""
    shared: dict[str, Any] = {}
    paths = {
        path: {
            method: {**operation, "responses": _named(operation["responses"], shared)}
            for method, operation in item.items()
        }
        for path, item in document["paths"].items()
    }
    components = {**document.get("components", {}), "responses": shared}
    return {**document, "paths": paths, "components": components}


def _named(responses: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    named = {}
    for status, response in responses.items():
        prefix = _SHARED.get(_schema_of(response))
        name = f"{prefix}{status}"
        is_shared = prefix is not None and shared.setdefault(name, response) == response
        named[status] = {"$ref": f"#/components/responses/{name}"} if is_shared else response
    return named


def _schema_of(response: dict[str, Any]) -> str:
    for content in response.get("content", {}).values():
        return str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]
    return ""


def _following(handler: HTTPRouteHandler, *, has_path_values: bool) -> set[int]:
    found = set() if handler.opt.get("unlimited") else {400, 429, 503}
    if handler.parsed_data_field is not None:
        found |= {400, 408, 413, 415}
    if has_path_values:
        found |= {400, 404}
    if handler.opt.get("idempotent"):
        found |= {408, 409, 413, 422}
    if handler.resolve_guards():
        found |= {401, 403}
    return found


def _spec(status: int) -> ResponseSpec:
    return ResponseSpec(
        data_container=Problem,
        description=_SENTENCES[status],
        media_type=MEDIA_TYPE,
        generate_examples=False,
        examples=[Example(summary=HTTPStatus(status).phrase, value=_example(status))],
    )


def _oauth_spec(status: int) -> ResponseSpec:
    example = {**_example(status), "error": oauth_error(CODES[status], status)}
    return ResponseSpec(
        data_container=OAuthProblem,
        description=_SENTENCES[status],
        media_type=OAUTH_MEDIA_TYPE,
        generate_examples=False,
        examples=[Example(summary=HTTPStatus(status).phrase, value=example)],
    )


def _example(status: int) -> dict[str, Any]:
    code = CODES[status]
    sentence = _SENTENCES[status].replace("`", "")
    return {
        "type": TYPE + code,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": sentence,
        "localized_detail": sentence,
        "code": code,
        "request_id": "0198f3c2-7d1e-7c40-9b5a-3f2d6c8e1a47",
        "errors": [{"field": "name", "message": "Expected `str`, got `int`", "source": "body"}]
        if status == 400
        else [],
        "about": {},
    }
