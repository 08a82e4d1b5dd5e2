"""What a body has to be: JSON that says so, read strictly. What two programs could read in two ways is refused.

A page elsewhere may have a browser send a form or plain text to us without asking first, but never JSON (Fetch, "CORS-safelisted
request-header"); and bytes that are read otherwise than their sender says are read wrongly. Hence 415.

A route with `opt={"oauth": True}` takes a form as well, as RFC 6749 wants: it goes by no cookie, so that a page elsewhere gains nothing.

Litestar reads without knowing what a route takes, then converts leniently, because query strings hold nothing but text: `"5"` would
be a number. Here the body is decoded as what its route takes, in one step; the conversion afterwards finds nothing left to do.
"""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.enums import RequestEncodingType, ScopeType
from litestar.exceptions import ClientException, SerializationException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.params import BodyKwarg
from litestar.types import ASGIApp, Empty, Receive, Scope, Send
from msgspec import Struct

from cloud_api.http.refusals import InvalidFieldError
from cloud_api.http.texts import check_address, check_texts

FORM = "application/x-www-form-urlencoded"
# What RFC 8628 knows is four; more are somebody's habit, and none of a thousand.
FORM_FIELDS_MAX = 50

_UTF_8 = frozenset({"utf-8", "utf8"})

# "Expected `int`, got `str` - at `$.to.pieces`"
_SENTENCE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<field>.*)`)?", re.DOTALL)

# PostgreSQL's text cannot hold it, and says so only when everything else was done.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class JsonBodies(ASGIMiddleware):
    """Refuses what calls itself a form, a text or another charset where JSON is taken, and an address with what is no text. It
    reads no body.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        check_address(scope)
        given = [
            value.decode("latin-1") for name, value in scope["headers"] if name == b"content-type"
        ]
        handler = scope["route_handler"]
        # One without a type cannot come from a form, and small programs often send none.
        if given and _takes_json(handler) and not all(map(is_json, given)):
            if handler.opt.get("oauth") and len(given) == 1 and is_form(given[0]):
                await next_app(scope, receive, send)
                return
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
            kind = Any if taken is None else taken.annotation
            # `JsonBodies` lets a form through only where one may come.
            sent_form = is_form(self.headers.get("content-type", ""))
            self._json = _of_form(body, kind) if sent_form else _decoded(body or b"null", kind)
        return self._json


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says JSON in UTF-8 (RFC 8259 §8.1 knows no other charset)."""
    kind, is_utf_8 = _read_type(content_type)
    json_kinds = kind.startswith("application/") and kind.endswith("+json")
    return is_utf_8 and (kind == "application/json" or json_kinds)


def is_form(content_type: str) -> bool:
    kind, is_utf_8 = _read_type(content_type)
    return is_utf_8 and kind == FORM


def _read_type(content_type: str) -> tuple[str, bool]:
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [
        each.partition("=")[2].strip('"') for each in parameters if each.startswith("charset=")
    ]
    return kind, all(each in _UTF_8 for each in charsets)


def _takes_json(handler: BaseRouteHandler) -> bool:
    taken = handler.parsed_fn_signature.parameters.get("data")
    if taken is None:
        return False
    said = taken.kwarg_definition
    return not isinstance(said, BodyKwarg) or said.media_type == RequestEncodingType.JSON


def _of_form(body: bytes, kind: Any) -> Any:
    """RFC 6749 §3.2: a parameter that nobody knows is no fault, one without a value is not there, one that is there twice is refused."""
    assert issubclass(kind, Struct), "a form has names"
    known = kind.__struct_fields__
    try:
        pairs = parse_qsl(body.decode("ascii"), errors="strict", max_num_fields=FORM_FIELDS_MAX)
        given = [(name, text) for name, text in pairs if name in known]
        _once(given)
        found = msgspec.convert(dict(given), kind)
    except msgspec.ValidationError as error:
        raise ValidationException(extra=[_problem(error)]) from error
    except ValueError:
        raise InvalidFieldError("", "The body is not a form in UTF-8 that can be read.") from None
    check_texts(given)
    return found


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        found = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise ValidationException(extra=[_problem(error)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _refuse_texts(body)
        raise SerializationException(str(error)) from error
    # msgspec takes the last of two.
    _read_again(body.decode(), _once)
    if _NUL.search(body):
        _refuse_texts(body)
    return found


def _read_again(body: str, check: Callable[[list[tuple[str, Any]]], None]) -> Any:
    """Decodes no number, because it may have a million digits."""
    return json.loads(body, object_pairs_hook=check, parse_int=len, parse_float=len)


def _refuse_texts(body: bytes) -> None:
    """Finds which field holds what is no text; the decoder knows at the most that there is one."""
    with suppress(ValueError):
        check_texts([("", _read_again(body.decode(errors="surrogateescape"), check_texts))])


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
