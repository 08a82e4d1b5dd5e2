"""Edits that cannot overwrite what the editor has not seen: ETag on what is read, If-Match on what is written."""

import hashlib
from typing import Any

import msgspec
from litestar import Request

from cloud_api.http.refusals import PreconditionFailedError, PreconditionRequiredError


def etag(value: object) -> str:
    """A strong tag of what is shown: it changes whenever the answer does."""
    return f'"{hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:32]}"'


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
