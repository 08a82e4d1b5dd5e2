"""The pages that links in mails and a terminal's code lead to: plain forms that call the API from the person's own browser.

A page is the same for everybody who reads a language, and knows nothing: the token stays in the fragment of the address, which is
never sent here.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response, get
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler

from cloud_api.accounts import pages as folder
from cloud_api.http.languages import LANGUAGES, preferred

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)

PAGES = {
    "verify": "page.html",
    "mail": "page.html",
    "reset": "page.html",
    "forgotten": "page.html",
    "factors": "page.html",
    "device": "device.html",
}
"""Each page with its template; what it says stands in `pages/words`, a section of the page's name."""

Words = Mapping[str, Mapping[str, str]]


def pages() -> list[HTTPRouteHandler]:
    words = {language: read_words(language) for language in LANGUAGES}
    environment = Environment(
        loader=FileSystemLoader(Path(str(resources.files(folder)))),
        autoescape=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    return [*(_handler(name, environment, words) for name in PAGES), script, style]


def read_words(language: str) -> Words:
    return tomllib.loads(_file(f"words/{language}.toml"))


def _handler(name: str, environment: Environment, words: Mapping[str, Words]) -> HTTPRouteHandler:
    template = environment.get_template(PAGES[name])
    rendered = {
        language: template.render(name=name, language=language, words=own, own=own[name])
        for language, own in words.items()
    }

    @get(f"/account/{name}", media_type=MediaType.HTML, include_in_schema=False)
    async def show(request: Request[Any, Any, Any]) -> Response[str]:
        language = preferred(request.headers.get("accept-language", ""))
        headers = {
            "content-security-policy": _CSP,
            "content-language": language,
            "vary": "accept-language",
        }
        return Response(rendered[language], media_type=MediaType.HTML, headers=headers)

    return show


@get("/account/page.js", include_in_schema=False, media_type="text/javascript")
async def script() -> str:
    return _file("page.js")


@get("/account/page.css", include_in_schema=False, media_type=MediaType.CSS)
async def style() -> str:
    return _file("page.css")


def _file(name: str) -> str:
    return (resources.files(folder) / name).read_text("utf-8")
