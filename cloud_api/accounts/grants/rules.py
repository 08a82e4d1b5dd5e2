"""Device authorisation (RFC 8628): a terminal shows a short code, a person who is logged in elsewhere approves it.

A terminal gets its session once. This module must never make a user code that spells a word or is read in two ways.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from shared.errors import InvalidError, NotFoundError

# RFC 8628 §6.1: consonants only, so that no word comes out; 20⁸ values, some 34 bits, beside the throttle on typing.
USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_CHARS = 8
GRANT_LIFE = timedelta(minutes=15)
POLL_INTERVAL = timedelta(seconds=5)  # RFC 8628 §3.2: what a client takes when nothing is said
SLOWER_BY = timedelta(seconds=5)  # §3.5
# A public client proves nothing by its name (RFC 8628 §5.6): this one is here because the protocol asks for it.
CLIENT = "sunaiva"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
POLL_INTERVAL_MAX = timedelta(minutes=1)


class Grant(Struct, frozen=True):
    expires_at: datetime
    interval: timedelta
    polled_at: datetime | None
    approved: bool | None
    """None until a person decides."""
    redeemed_at: datetime | None


class Pending(Struct, frozen=True):
    pass


class SlowDown(Struct, frozen=True):
    interval: timedelta


class Denied(Struct, frozen=True):
    pass


class Expired(Struct, frozen=True):
    pass


class Approved(Struct, frozen=True):
    pass


Answer = Pending | SlowDown | Denied | Expired | Approved


class ClientUnknownError(InvalidError):
    code = "invalid_client"

    def __init__(self) -> None:
        super().__init__(f"There is no such client. Send client_id={CLIENT}.")


class GrantTypeUnknownError(InvalidError):
    code = "unsupported_grant_type"

    def __init__(self) -> None:
        super().__init__(f"Tokens are given here for grant_type={GRANT_TYPE} only.")


class AuthorizationPendingError(InvalidError):
    code = "authorization_pending"

    def __init__(self) -> None:
        super().__init__("Nobody has approved the code yet. Ask again after the interval.")


class PollSlowerError(InvalidError):
    code = "slow_down"

    def __init__(self, interval: timedelta) -> None:
        seconds = int(interval.total_seconds())
        super().__init__(f"Asked too often: leave {seconds} seconds between two questions.")
        self.interval = interval


class AccessDeniedError(InvalidError):
    code = "access_denied"

    def __init__(self) -> None:
        super().__init__("The person did not approve this. Start again if that was a mistake.")


class GrantOverError(InvalidError):
    code = "expired_token"

    def __init__(self) -> None:
        super().__init__("The code has run out or was used already. Start again for a new one.")


class UserCodeUnknownError(NotFoundError):
    code = "no_such_user_code"

    def __init__(self) -> None:
        super().__init__(
            "There is no such code, or it has run out. Compare it with what the terminal shows."
        )


def check_client(client_id: str) -> None:
    """
    Raises:
        ClientUnknownError
    """
    if client_id != CLIENT:
        raise ClientUnknownError


def check_grant_type(grant_type: str) -> None:
    """
    Raises:
        GrantTypeUnknownError
    """
    if grant_type != GRANT_TYPE:
        raise GrantTypeUnknownError


def on_poll(grant: Grant, now: datetime) -> Answer:
    if now >= grant.expires_at or grant.redeemed_at is not None:
        return Expired()
    if grant.polled_at is not None and now - grant.polled_at < grant.interval:
        return SlowDown(interval=min(grant.interval + SLOWER_BY, POLL_INTERVAL_MAX))
    if grant.approved is None:
        return Pending()
    return Approved() if grant.approved else Denied()


def new_user_code(random_below: Callable[[int], int] = secrets.randbelow) -> str:
    letters = [
        USER_CODE_LETTERS[random_below(len(USER_CODE_LETTERS))] for _ in range(USER_CODE_CHARS)
    ]
    return shown_user_code("".join(letters))


def shown_user_code(letters: str) -> str:
    half = USER_CODE_CHARS // 2
    return f"{letters[:half]}-{letters[half:]}"


def typed_user_code(text: str) -> str | None:
    """The code as it is kept, however it was typed, or None for what no code looks like."""
    letters = "".join(character for character in text.upper() if character.isalnum())
    fits = len(letters) == USER_CODE_CHARS and all(each in USER_CODE_LETTERS for each in letters)
    return letters if fits else None
