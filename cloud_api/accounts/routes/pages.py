"""The pages that links in mails and a terminal's code lead to: plain forms that call the API from the person's own browser.

A page is the same for everybody and knows nothing: the token stays in the fragment of the address, which is never sent here.
"""

from importlib import resources

from jinja2 import Environment
from litestar import Response, get
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


class Field(Struct, frozen=True):
    label: str
    name: str
    type: str
    autocomplete: str
    optional: bool = False


class Page(Struct, frozen=True):
    name: str
    title: str
    text: str
    button: str
    fields: tuple[Field, ...] = ()


_MAIL = Field("Mail address", "mail", "email", "username")
_PASSWORD = Field("Password", "password", "password", "current-password")
_NEW_PASSWORD = Field("New password", "password", "password", "new-password")
_CODE = Field(
    "Code of your authenticator app, if you have one",
    "code",
    "text",
    "one-time-code",
    optional=True,
)
_USER_CODE = Field("Code in the terminal", "user_code", "text", "off")

PAGES = (
    Page("verify", "Confirm your mail address", "One step is left.", "Confirm the address"),
    Page(
        "mail",
        "Confirm your new mail address",
        "From then on the former one counts no more.",
        "Confirm the address",
    ),
    Page(
        "reset",
        "Choose a new password",
        "All your devices will be logged out.",
        "Set the password",
        (_NEW_PASSWORD,),
    ),
    Page(
        "forgotten",
        "Set a new password",
        "We send you a link. It also stops a change of your mail address that you did not ask for.",
        "Send me the link",
        (_MAIL,),
    ),
    Page(
        "device",
        "Connect a terminal",
        "Compare the code with the one in your own terminal. Nobody else has a reason to send you one.",
        "Connect",
        (_USER_CODE, _MAIL, _PASSWORD, _CODE),
    ),
)


def _handler(page: Page) -> HTTPRouteHandler:
    template = Environment(autoescape=True, trim_blocks=True).from_string(_file("page.html"))
    text = template.render(
        name=page.name, title=page.title, text=page.text, button=page.button, fields=page.fields
    )

    @get(f"/account/{page.name}", media_type=MediaType.HTML, include_in_schema=False)
    async def show() -> Response[str]:
        return Response(text, media_type=MediaType.HTML, headers={"content-security-policy": _CSP})

    return show


@get("/account/page.js", include_in_schema=False, media_type="text/javascript")
async def script() -> str:
    return _file("page.js")


@get("/account/page.css", include_in_schema=False, media_type=MediaType.CSS)
async def style() -> str:
    return _file("page.css")


def _file(name: str) -> str:
    return (resources.files("cloud_api.accounts.pages") / name).read_text("utf-8")


def pages() -> list[HTTPRouteHandler]:
    return [*(_handler(page) for page in PAGES), script, style]
