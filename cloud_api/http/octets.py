"""Bodies that are bytes and nothing else: sealed things, which no part of ours interprets."""

from typing import Any

from litestar import Request
from litestar.datastructures import Headers
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from cloud_api.http.refusals import UnsupportedMediaError

OCTETS = "application/octet-stream"


class TakesOctets(Operation):
    """For a route's `operation_class`: says in the document that its body is bytes."""

    def __post_init__(self) -> None:
        kind = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
        self.request_body = RequestBody(content={OCTETS: kind}, required=True)


async def octets(request: Request[Any, Any, Any]) -> bytes:
    """The body. Its size is limited by the route's `request_max_body_size`.

    Raises:
        UnsupportedMediaError: it calls itself something else.
    """
    given = Headers.from_scope(request.scope).getall("content-type", [])
    # A page elsewhere may have a browser send a form without asking first, but never this.
    if [each.strip().lower() for each in given] != [OCTETS]:
        raise UnsupportedMediaError(f"Send the bytes as they are, with content-type: {OCTETS}.")
    return await request.body()
