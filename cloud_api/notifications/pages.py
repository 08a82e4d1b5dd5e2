"""The page that a link in a mail leads to: it says what will happen, and a button does it, because scanners of mail open links too."""

from typing import Any

from litestar import Request, Response
from litestar.enums import MediaType

from cloud_api.http.languages import preferred
from cloud_api.notifications.actions import Post
from cloud_api.notifications.rules import Words

# A page and a button; nothing runs, nothing is loaded, and no other page may frame it.
_CSP = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def words_for(request: Request[Any, Any, Any], letters: Post) -> Words:
    return letters.wording.in_language(preferred(request.headers.get("accept-language", "")))


def page(
    letters: Post, words: Words, *, heading: str, text: str, button: str | None = None
) -> Response[str]:
    """With a button it asks, without one it says what was done."""
    rendered = letters.wording.layout.page.render(
        language=words.language, heading=heading, text=text, button=button
    )
    return html(rendered, _CSP)


def html(page: str, csp: str, more: dict[str, str] | None = None) -> Response[str]:
    headers = {"content-security-policy": csp} | (more or {})
    return Response(page, media_type=MediaType.HTML, headers=headers)
