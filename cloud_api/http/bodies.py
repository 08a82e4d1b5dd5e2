"""A route that takes JSON takes nothing else: what calls itself a form, a text or another charset is refused with 415.

A page elsewhere may have a browser send a form or plain text to us without asking first, but never JSON (Fetch, "CORS-safelisted
request-header"); and bytes that are read otherwise than their sender says are read wrongly. It reads no body.
"""

from litestar.datastructures import Headers
from litestar.enums import RequestEncodingType, ScopeType
from litestar.exceptions import ClientException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.params import BodyKwarg
from litestar.types import ASGIApp, Receive, Scope, Send

_UTF_8 = frozenset({"utf-8", "utf8"})


class JsonBodies(ASGIMiddleware):
    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        given = Headers.from_scope(scope).getall("content-type", [])
        # One without a type cannot come from a form, and small programs often send none.
        if given and _takes_json(scope["route_handler"]) and not all(map(is_json, given)):
            raise ClientException(
                status_code=415, detail="Send JSON in UTF-8, with content-type: application/json."
            )
        await next_app(scope, receive, send)


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says JSON in UTF-8 (RFC 8259 §8.1 knows no other charset)."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        return False
    charsets = [
        each.partition("=")[2].strip('"') for each in parameters if each.startswith("charset=")
    ]
    return all(each in _UTF_8 for each in charsets)


def _takes_json(handler: BaseRouteHandler) -> bool:
    taken = handler.parsed_fn_signature.parameters.get("data")
    if taken is None:
        return False
    said = taken.kwarg_definition
    return not isinstance(said, BodyKwarg) or said.media_type == RequestEncodingType.JSON
