"""One id for each request: the caller's own where it is harmless, else one of ours. It is in every answer and every log line."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

REQUEST_ID_CHARS_MAX = 64

# Whatever a caller sends ends in our logs: no spaces, no line ends, nothing that a terminal acts on.
_HARMLESS = re.compile(rf"[A-Za-z0-9._-]{{8,{REQUEST_ID_CHARS_MAX}}}", re.ASCII)
_KEY = "sunaiva.request_id"


def take_request_id(scope: Any, given: str | None, new_id: Callable[[], UUID]) -> str:
    chosen = given if given and _HARMLESS.fullmatch(given) else str(new_id())
    scope[_KEY] = chosen
    return chosen


def request_id(scope: Mapping[str, Any] | Any) -> str:
    found: str = scope.get(_KEY, "")
    return found
