"""A person's account at a cloud: logging this device in (RFC 8628), renewing that, ending it.

The account only opens the way to a server. No key of the vault depends on it, and nothing here is ever sent a memory, a key or this
computer's name. An answer is somebody else's text: bounded, and never believed to be more than a sentence.
"""

import platform
from typing import TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import msgspec
from msgspec import Struct

from mcp_server.version import __version__
from shared.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    QuotaExceededError,
    SunaivaError,
    UnavailableError,
)

# No answer about an account comes near it; a server that sends more would fill the memory.
ANSWER_BYTES_MAX = 1_048_576
# A page of batches on a slow line takes its time between two pieces; nothing else does.
TIMEOUT_SECONDS = 30.0
_DETAIL_CHARS_MAX = 400
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

Answer = TypeVar("Answer")


class CloudAwayError(UnavailableError):
    """There is no way to the cloud now. Nothing here depends on it; it is tried again."""

    code = "cloud_unavailable"


class LoggedOutError(ForbiddenError):
    """The cloud does not know this device's session (any more)."""

    code = "logged_out"

    def __init__(self) -> None:
        super().__init__(
            "This device is not logged in at the cloud any more. Log in again with `sunaiva login`."
        )


class PendingError(InvalidError):
    """Nobody has decided yet."""

    code = "authorization_pending"


class SlowDownError(InvalidError):
    """Asked too often: leave five seconds more between two questions (RFC 8628 §3.5)."""

    code = "slow_down"


class Code(Struct, frozen=True, kw_only=True):
    """What the person takes to a browser, and what this device asks with."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int = 5

    def __repr__(self) -> str:
        return "Code(…)"


class Tokens(Struct, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str
    expires_in: int

    def __repr__(self) -> str:
        return "Tokens(…)"


class Owner(Struct, frozen=True):
    mail: str


class _Vault(Struct, frozen=True):
    id: UUID


class _Problem(Struct, frozen=True):
    code: str | None = None
    error: str | None = None
    detail: str | None = None
    error_description: str | None = None


def origin(url: str) -> str:
    """The address of a cloud: scheme, host and port.

    Raises:
        InvalidError: it is none, or one over which everybody on the way could listen.
    """
    given = url.strip().rstrip("/")
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or parts.path or parts.query:
        raise InvalidError(
            f"{given[:100]!r} is not the address of a cloud. It looks like https://cloud.example.org."
        )
    if parts.username or parts.password:
        raise InvalidError("The address of a cloud has no name or password in it. Leave them out.")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise InvalidError(
            f"{given[:100]} is not encrypted on the way. Take https://; http:// is for a cloud on this computer only."
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


def http_client(at: str) -> httpx.Client:
    """For the account. Close it."""
    client = bare_client(at)
    client.base_url = httpx.URL(f"{at}/api/v1")
    return client


def bare_client(at: str) -> httpx.Client:
    """Close it. A proxy of the environment is not asked for a cloud on this computer."""
    return httpx.Client(
        timeout=TIMEOUT_SECONDS,
        follow_redirects=False,
        trust_env=urlsplit(at).hostname not in _LOOPBACK,
        headers={"user-agent": f"sunaiva/{__version__}", "accept": "application/json"},
    )


def begin(client: httpx.Client) -> Code:
    """A code for the person to approve. The cloud is told the kind of this computer, and not its name."""
    asked = {"device": f"Sunaiva on {platform.system()}"}
    return _asked(client, "POST", "/auth/device/code", asked, kind=Code)


def poll(client: httpx.Client, code: Code) -> Tokens:
    """
    Raises:
        PendingError, SlowDownError: ask again.
        ForbiddenError: the person said no, or the code has run out.
    """
    asked = {"device_code": code.device_code}
    return _asked(client, "POST", "/auth/device/token", asked, kind=Tokens)


def renew(client: httpx.Client, refresh_token: str) -> Tokens:
    """The next pair. The former refresh token is spent: keep the new one before it is used.

    Raises:
        LoggedOutError
    """
    asked = {"refresh_token": refresh_token}
    return _asked(client, "POST", "/auth/refresh", asked, kind=Tokens)


def end(client: httpx.Client, refresh_token: str) -> None:
    _exchange(client, "POST", "/auth/logout", {"refresh_token": refresh_token})


def owner(client: httpx.Client, access_token: str) -> Owner:
    """Whose account it is."""
    return _asked(client, "GET", "/account", token=access_token, kind=Owner)


def vaults(client: httpx.Client, access_token: str) -> list[bytes]:
    """Ids of the vaults that this person syncs there."""
    found = _asked(client, "GET", "/vaults", token=access_token, kind=list[_Vault])
    return [vault.id.bytes for vault in found]


def put(client: httpx.Client, path: str, message: bytes, access_token: str) -> None:
    _exchange(client, "PUT", path, octets=message, token=access_token)


def take(client: httpx.Client, path: str, access_token: str) -> bytes:
    """
    Raises:
        NotFoundError: there is nothing (yet).
    """
    return _exchange(client, "GET", path, token=access_token)


def _asked(
    client: httpx.Client,
    method: str,
    path: str,
    body: dict[str, str] | None = None,
    *,
    token: str | None = None,
    kind: type[Answer],
) -> Answer:
    content = _exchange(client, method, path, body, token=token)
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError:
        raise CloudAwayError(
            f"What answers at {client.base_url.host} is not a Sunaiva cloud, or of another version. Look at the address."
        ) from None


def _exchange(
    client: httpx.Client,
    method: str,
    path: str,
    body: dict[str, str] | None = None,
    *,
    octets: bytes | None = None,
    token: str | None = None,
) -> bytes:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    if octets is not None:
        headers["content-type"] = "application/octet-stream"
    try:
        with client.stream(method, path, json=body, content=octets, headers=headers) as response:
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if len(content) > ANSWER_BYTES_MAX:
                    raise CloudAwayError("The cloud sends an answer without an end.")
    except (httpx.HTTPError, httpx.InvalidURL):
        raise CloudAwayError(
            f"The cloud at {client.base_url.host} cannot be reached. Are you online, and is the address right?"
        ) from None
    if response.status_code >= 300:
        raise _refusal(response.status_code, bytes(content))
    return bytes(content)


def _refusal(status: int, content: bytes) -> SunaivaError:
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    code = problem.error or problem.code
    detail = (problem.detail or problem.error_description or "").strip()[:_DETAIL_CHARS_MAX]
    match code:
        case "authorization_pending":
            return PendingError("Nobody has approved the code yet.")
        case "slow_down":
            return SlowDownError("Asked too often.")
        case "access_denied":
            return ForbiddenError("The code was refused. If that was a mistake, start again.")
        case "expired_token":
            return ForbiddenError("The code has run out. Start again for a new one.")
        case _:
            pass
    if status == 401:
        return LoggedOutError()
    said = detail or f"The cloud refused ({status})."
    if status in (408, 429) or status >= 500 or status < 400:
        return CloudAwayError(
            detail or f"The cloud does not serve now ({status}). Try again later."
        )
    families: dict[int, type[SunaivaError]] = {
        402: QuotaExceededError,
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        413: QuotaExceededError,
    }
    return families.get(status, InvalidError)(said)
