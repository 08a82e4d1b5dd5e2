"""This device's session at the cloud: the one place that renews it.

A refresh token is good once. Its successor is in the vault before anything is done with it, and only one thread renews at a time; a
second use of a spent one would end the session, because then two have it.
"""

import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import httpx

from mcp_server.device import Device
from mcp_server.syncing import account
from mcp_server.syncing.account import (
    CloudAwayError,
    Code,
    LoggedOutError,
    PendingError,
    SlowDownError,
    Tokens,
)
from mcp_server.vault import meeting
from shared.errors import ForbiddenError, InvalidError

# Renewed before it runs out, so that no request is on its way when it does.
EARLY_SECONDS = 60.0
SLOWER_BY_SECONDS = 5.0
# Whoever has the browser open already approves at once; after that, at the pace that the server asks for.
FIRST_POLL_SECONDS = 1.0
_TICK_SECONDS = 0.25
_INTERVAL_SECONDS_MAX = 60.0
_LIFE_SECONDS_MAX = 3_600

Progress = Generator[dict[str, Any], None, str]


class Session:
    """Owns the connection to the cloud's accounts, and the access token, which is kept nowhere. Close it."""

    def __init__(self, device: Device, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._seconds = seconds
        self._lock = threading.Lock()
        self._access: str | None = None
        self._good_until = 0.0

    def access_token(self) -> str:
        """Good for a while yet.

        Raises:
            LoggedOutError: the person has to log in again.
            CloudAwayError
        """
        with self._lock:
            if self._access is None or self._seconds() > self._good_until:
                self._renew()
            assert self._access is not None
            return self._access

    def log_in(self, at: str, *, cancelled: Callable[[], bool]) -> Progress:
        """Show a code, wait for the person, and let the vault meet its other devices at this cloud. Yields what to show, returns the
        account's mail address.

        Raises:
            ForbiddenError: refused, or run out.
            CloudAwayError
        """
        with account.http_client(at) as client:
            code = account.begin(client)
            shown = {
                "user_code": code.user_code,
                "uri": code.verification_uri,
                "uri_complete": code.verification_uri_complete,
            }
            yield {"doing": "Waiting for your approval", "login": shown}
            tokens = yield from self._approved(client, code, cancelled)
            with self._lock:
                with self._device.vault.writing() as db:
                    meeting.make(
                        db,
                        "cloud",
                        at,
                        refresh_token=tokens.refresh_token,
                        now=self._device.clock(),
                    )
                self._took(tokens)
            return account.owner(client, tokens.access_token).mail

    def log_out(self) -> bool:
        """Sync no more with this cloud, and end the session there; whether the cloud heard of it. What it did not hear of ends by
        itself, a week after it was last used."""
        with self._lock:
            with self._device.vault.writing() as db:
                met, token = meeting.read(db), meeting.refresh_token(db)
                meeting.remove(db)
            self._access = None
        if met is None or token is None:
            return True
        try:
            with account.http_client(met.place) as client:
                account.end(client, token)
        except CloudAwayError:
            return False
        except LoggedOutError:
            pass  # it was over there already
        return True

    def _approved(
        self, client: httpx.Client, code: Code, cancelled: Callable[[], bool]
    ) -> Generator[dict[str, Any], None, Tokens]:
        interval = float(min(max(code.interval, 1), _INTERVAL_SECONDS_MAX))
        started = self._seconds()
        ends = started + min(code.expires_in, _LIFE_SECONDS_MAX)
        ask_at = started + min(FIRST_POLL_SECONDS, interval)
        pause = threading.Event()
        while (now := self._seconds()) < ends:
            if cancelled():
                raise InvalidError("The login was broken off.")
            if now >= ask_at:
                try:
                    return account.poll(client, code)
                except PendingError:
                    pass
                except SlowDownError:
                    interval = min(interval + SLOWER_BY_SECONDS, _INTERVAL_SECONDS_MAX)
                ask_at = self._seconds() + interval
            left = int(ends - now)
            yield {"doing": f"Waiting for your approval ({left // 60}:{left % 60:02} left)"}
            pause.wait(_TICK_SECONDS)
        raise ForbiddenError("The code has run out. Start again for a new one.")

    def _renew(self) -> None:
        with self._device.vault.reading() as db:
            met, token = meeting.read(db), meeting.refresh_token(db)
        if met is None or met.kind != "cloud" or token is None:
            raise LoggedOutError
        try:
            with account.http_client(met.place) as client:
                tokens = account.renew(client, token)
        except LoggedOutError:
            with self._device.vault.writing() as db:
                meeting.keep_token(db, None)
            raise
        with self._device.vault.writing() as db:
            meeting.keep_token(db, tokens.refresh_token)
        self._took(tokens)

    def _took(self, tokens: Tokens) -> None:
        self._access = tokens.access_token
        self._good_until = self._seconds() + max(tokens.expires_in - EARLY_SECONDS, 0.0)
