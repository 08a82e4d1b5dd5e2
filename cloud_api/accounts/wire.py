"""What several routes of accounts take and give: bounded texts, and tokens."""

from typing import Annotated, Any

from litestar import Request
from msgspec import Meta, Struct

from cloud_api.accounts.authentication import bearer_of
from cloud_api.accounts.lifetimes import ACCESS_TOKEN_LIFE
from cloud_api.accounts.passwords.rules import PASSWORD_CHARS_MAX
from cloud_api.accounts.sessions.actions import Place, Tokens
from cloud_api.accounts.tokens import TOKEN_CHARS_MAX, Bearer
from cloud_api.http.caller import caller
from cloud_api.http.networks import shown_network
from cloud_api.http.rate_limits import RateLimit

# The end of a text for both who read these patterns: to Python, `$` also stands before a last line feed; to JSON Schema, `\Z` is a Z.
_END = r"(?![\s\S])"
# No control characters: PostgreSQL takes no NUL, and a terminal that shows a device's name obeys the others. Nor those that end
# lines or turn the direction of what follows, by which a name shows as another.
PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]*" + _END

MailText = Annotated[str, Meta(min_length=3, max_length=254, description="A mail address")]
PasswordText = Annotated[str, Meta(min_length=1, max_length=PASSWORD_CHARS_MAX)]
TokenText = Annotated[str, Meta(min_length=1, max_length=TOKEN_CHARS_MAX)]
CodeText = Annotated[
    str,
    Meta(min_length=1, max_length=40, description="Of an authenticator app, or a recovery code"),
]
NameText = Annotated[str, Meta(min_length=1, max_length=120, pattern=PLAIN)]
DeviceText = Annotated[
    str,
    Meta(min_length=1, max_length=200, pattern=PLAIN, description="What the person knows it by"),
]
LanguageText = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}" + _END, description="Such as de or pt-BR"
    ),
]

# By address, beside the counts of failures: hashing a password costs us more than asking costs anybody.
GUESSES = RateLimit(name="guesses", requests=30, seconds=60, by_address=True)
MAILS = RateLimit(name="mails", requests=20, seconds=3600, by_address=True)


class TokensAnswer(Struct, frozen=True, kw_only=True):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 (RFC 6749 §5.1)
    expires_in: int = int(ACCESS_TOKEN_LIFE.total_seconds())
    refresh_token: str


class Said(Struct, frozen=True):
    message: str


def tokens_answer(tokens: Tokens) -> TokensAnswer:
    return TokensAnswer(access_token=tokens.access_token, refresh_token=tokens.refresh_token)


def place(request: Request[Any, Any, Any], device: str | None) -> Place:
    return Place(device=device, network=shown_network(caller(request.scope).address))


def provide_bearer(request: Request[Any, Any, Any]) -> Bearer:
    return bearer_of(request.scope)
