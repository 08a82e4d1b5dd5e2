"""The API reference as one page, made from the OpenAPI document: no script, no CDN, readable without a network."""

from importlib import resources
from typing import Any

from jinja2 import Environment
from litestar import Request, Response, Router, get
from litestar.enums import MediaType
from litestar.exceptions import NotFoundException
from litestar.response import Redirect

from cloud_api.http.described import with_headers

_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


@get(
    "/api/v1/reference", media_type=MediaType.HTML, include_in_schema=False, opt={"unlimited": True}
)
async def reference(request: Request[Any, Any, Any]) -> Response[str]:
    page = render(with_headers(request.app.openapi_schema.to_schema()))
    return Response(page, media_type=MediaType.HTML, headers={"content-security-policy": _CSP})


@get("/", include_in_schema=False, opt={"unlimited": True}, status_code=303)
async def front_door() -> Redirect:
    """Somebody who opens the address in a browser wants to know what is here."""
    return Redirect("/api/v1/reference", status_code=303)


def document_router() -> Router:
    """Where Litestar puts the document, and a page of its own in HTML for all that is unknown beside it."""
    return Router(
        "/api/v1", route_handlers=[], include_in_schema=False, after_request=_refuse_unknown
    )


def _refuse_unknown(response: Response[Any]) -> Response[Any]:
    if response.status_code == 404:
        raise NotFoundException
    return response


def render(document: dict[str, Any]) -> str:
    template = (resources.files("cloud_api.http") / "reference.html.jinja").read_text("utf-8")
    return (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(template)
        .render(document)
    )
