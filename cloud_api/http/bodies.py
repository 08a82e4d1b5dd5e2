"""What a body has to be: JSON that says so, read strictly. What two programs could read in two ways is refused.

A page elsewhere may have a browser send a form or plain text to us without asking first, but never JSON (Fetch, "CORS-safelisted
request-header"); and bytes that are read otherwise than their sender says are read wrongly. Hence 415.

Litestar reads without knowing what a route takes, then converts leniently, because query strings hold nothing but text: `"5"` would
be a number. Here the body is decoded as what its route takes, in one step; the conversion afterwards finds nothing left to do.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request
from litestar.enums import RequestEncodingType, ScopeType
from litestar.exceptions import ClientException, SerializationException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.params import BodyKwarg
from litestar.types import ASGIApp, Empty, Receive, Scope, Send

from cloud_api.http.refusals import InvalidFieldError

_UTF_8 = frozenset({"utf-8", "utf8"})

# "Expected `int`, got `str` - at `$.to.pieces`"
_SENTENCE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<field>.*)`)?", re.DOTALL)

# PostgreSQL's text cannot hold it, and says so only when everything else was done.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class JsonBodies(ASGIMiddleware):
    """Refuses what calls itself a form, a text or another charset where JSON is taken. It reads no body."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        given = [
            value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"
        ]
        # One without a type cannot come from a form, and small programs often send none.
        if given and _takes_json(scope["route_handler"]) and not all(map(is_json, given)):
            raise ClientException(
                status_code=415, detail="Send JSON in UTF-8, with content-type: application/json."
            )
        await next_app(scope, receive, send)


class StrictRequest(Request[Any, Any, Any]):
    """For Litestar's `request_class`."""

    async def json(self) -> Any:
        """The body as its route takes it.

        Raises:
            SerializationException: it is no JSON.
            ValidationException: it is, and not what the route takes.
            InvalidFieldError: a name is there twice, or a text that cannot be kept.
        """
        if self._json is Empty:
            taken = self.route_handler.parsed_data_field
            body = await self.body()
            self._json = _decoded(body or b"null", Any if taken is None else taken.annotation)
        return self._json


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


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        found = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise ValidationException(extra=[_problem(error)]) from error
    except msgspec.DecodeError as error:
        raise SerializationException(str(error)) from error
    if _NUL.search(body):
        raise InvalidFieldError("", "A text holds the character NUL, which cannot be kept.")
    # msgspec takes the last of two; this reads again, and decodes no number, because it may have a million digits.
    json.loads(body.decode(), object_pairs_hook=_once, parse_int=len, parse_float=len)
    return found


def _problem(error: msgspec.ValidationError) -> dict[str, str]:
    parts = _SENTENCE.fullmatch(str(error))
    assert parts is not None, "every text matches"
    return {"key": parts["field"] or "", "message": parts["what"], "source": "body"}


def _once(pairs: Sequence[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidFieldError(name, f"The field {name} is there more than once.")
        seen.add(name)
