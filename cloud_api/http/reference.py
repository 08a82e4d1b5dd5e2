"""The API reference as one page, made from the OpenAPI document: no script, no CDN, readable without a network."""

from importlib import resources
from typing import Any

from jinja2 import Environment
from litestar import Request, Response, get
from litestar.enums import MediaType

from cloud_api.http.described import with_headers

_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


@get(
    "/api/v1/reference", media_type=MediaType.HTML, include_in_schema=False, opt={"unlimited": True}
)
async def reference(request: Request[Any, Any, Any]) -> Response[str]:
    page = render(with_headers(request.app.openapi_schema.to_schema()))
    return Response(page, media_type=MediaType.HTML, headers={"content-security-policy": _CSP})


def render(document: dict[str, Any]) -> str:
    template = (resources.files("cloud_api.http") / "reference.html.jinja").read_text("utf-8")
    return (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(template)
        .render(document)
    )
