"""Texts that cannot be kept: PostgreSQL knows no NUL, and half a surrogate pair or bytes that are no UTF-8 are no text at all.

They are refused where a request comes in, by the name of the field or parameter, so that no route has to think of them and none
ends in an error of the database.
"""

from typing import Any
from urllib.parse import unquote_to_bytes

from cloud_api.http.refusals import InvalidFieldError

_NUL = "holds the character NUL, which cannot be kept"
_NO_TEXT = "is no text: half a character, or bytes that are no UTF-8"


def fault_of(text: str) -> str | None:
    if "\0" in text:
        return _NUL
    try:
        text.encode()
    except UnicodeEncodeError:
        return _NO_TEXT
    return None


def check_address(scope: Any) -> None:
    """Path and query of a request.

    Raises:
        InvalidFieldError
    """
    # Some servers put the query behind it, and some leave it out.
    path: bytes = (scope.get("raw_path") or scope["path"].encode(errors="surrogatepass")).partition(
        b"?"
    )[0]
    if b"%" in path and (fault := _fault_of_bytes(path)):
        raise _refusal(_path_parameter(scope), fault, "path")
    query: bytes = scope["query_string"]
    if b"%" in query or not query.isascii():
        for pair in query.split(b"&"):
            if fault := _fault_of_bytes(pair):
                name = unquote_to_bytes(pair.partition(b"=")[0]).decode(errors="replace")
                raise _refusal(name, fault, "query")


def check_texts(pairs: list[tuple[str, Any]]) -> None:
    """Names and values of one object of a body, those in lists included; objects in it are checked by themselves.

    Raises:
        InvalidFieldError
    """
    for name, value in pairs:
        if fault := fault_of(name) or _fault_within(value):
            raise _refusal(name.encode(errors="replace").decode(), fault, "body")


def _fault_within(value: Any) -> str | None:
    match value:
        case str():
            return fault_of(value)
        case list():
            return next((fault for each in value if (fault := _fault_within(each))), None)
        case _:
            return None


def _fault_of_bytes(raw: bytes) -> str | None:
    try:
        return fault_of(unquote_to_bytes(raw).decode())
    except UnicodeDecodeError:
        return _NO_TEXT


def _path_parameter(scope: Any) -> str:
    for name, value in scope.get("path_params", {}).items():
        # What was no UTF-8 is a replacement character by now.
        if isinstance(value, str) and (fault_of(value) or "\ufffd" in value):
            return str(name)
    return "path"


def _refusal(field: str, fault: str, source: str) -> InvalidFieldError:
    return InvalidFieldError(field, f"{field or 'A text'} {fault}.", source=source)
