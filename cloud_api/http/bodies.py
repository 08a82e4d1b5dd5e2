"""Reads the JSON of a request strictly: `"5"` is no number, and what two programs could read in two ways is refused.

Litestar reads without knowing what a route takes, then converts leniently, because query strings hold nothing but text. Here the
body is decoded as what its route takes, in one step; the conversion afterwards finds nothing left to do.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import SerializationException, ValidationException
from litestar.types import Empty

from cloud_api.http.refusals import InvalidFieldError

# "Expected `int`, got `str` - at `$.to.pieces`"
_SENTENCE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<field>.*)`)?", re.DOTALL)

# PostgreSQL's text cannot hold it, and says so only when everything else was done.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


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
