"""Edits that cannot overwrite what the editor has not seen: ETag on what is read, If-Match on what is written."""

import hashlib
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.enums import MediaType

from cloud_api.http.refusals import PreconditionFailedError, PreconditionRequiredError

T = TypeVar("T")


def etag(value: object) -> str:
    """A strong tag of what is shown: it changes whenever the answer does."""
    return _tag(msgspec.json.encode(value))


def tagged(answer: T) -> Response[T]:
    """The answer with its tag, written out once for both."""
    body: Any = msgspec.json.encode(answer)
    return Response(body, media_type=MediaType.JSON, headers={"etag": _tag(body)})


def require_match(request: Request[Any, Any, Any], present: str) -> None:
    """Go on only if the caller has seen the present version.

    Raises:
        PreconditionRequiredError: without If-Match.
        PreconditionFailedError: it was changed meanwhile.
    """
    given = request.headers.get("if-match")
    if given is None:
        raise PreconditionRequiredError(
            "Send If-Match with the ETag of what you have read, so that nobody's change is lost."
        )
    if given.strip() != "*" and present not in {each.strip() for each in given.split(",")}:
        raise PreconditionFailedError(
            "It was changed since you read it. Read it again, and decide anew."
        )


def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
