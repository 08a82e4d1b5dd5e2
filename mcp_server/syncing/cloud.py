"""A cloud as a meeting place: the person's vaults there, the way to their batches, and mailboxes for pairing.

Batches go under a pass that the device gets by its own key; the account is asked only for what is the person's: making a vault, reading
its device list before being in it, and pairing.
"""

import random
import threading
from uuid import UUID

from mcp_server.syncing import account
from mcp_server.syncing.session import Session
from shared.errors import NotFoundError, SunaivaError, UnavailableError
from sync_service.device.log import Self
from sync_service.sealed.keys import Seeds
from sync_service.transport import Mailboxes
from sync_service.transports.http import DeviceLogin, HttpTransport


class Cloud:
    """Owns the connections to one cloud. Close it, from whatever thread."""

    def __init__(self, at: str, session: Session) -> None:
        self._at = at
        self._session = session
        self._closed = threading.Event()
        self._client = account.http_client(at)
        self._kept: dict[tuple[bytes | None, bytes | None, int], HttpTransport] = {}

    def vaults(self) -> list[bytes]:
        return account.vaults(self._client, self._session.access_token())

    def transport(self, vault: bytes | None, me: Self | None) -> HttpTransport:
        # One for each thread and device for as long as it is the same: it keeps a pass, and a line for nudges.
        kept = (vault, None if me is None else me.device, threading.get_ident())
        if vault is None or kept not in self._kept:
            self._kept[kept] = HttpTransport(
                self._at,
                vault=vault,
                login=None if me is None else _login(me),
                account_token=self._token_if_any,
                sleep=self._sleep,
                jitter=random.random,
                client=account.bare_client(self._at),
            )
        return self._kept[kept]

    def mailboxes(self) -> Mailboxes:
        return _CloudMailboxes(self)

    def close(self) -> None:
        self._closed.set()
        for transport in list(self._kept.values()):
            transport.close()
        self._client.close()

    def put(self, path: str, message: bytes) -> None:
        account.put(self._client, path, message, self._session.access_token())

    def take(self, path: str) -> bytes | None:
        try:
            return account.take(self._client, path, self._session.access_token())
        except NotFoundError:
            return None

    def _token_if_any(self) -> str | None:
        """The account's session may be over without any harm: a device of the vault is let in by its own key."""
        try:
            return self._session.access_token()
        except SunaivaError:
            return None

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise UnavailableError("The cloud is not used any more.")


class _CloudMailboxes:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def put(self, name: bytes, slot: str, message: bytes) -> None:
        self._cloud.put(f"/mailboxes/{UUID(bytes=name)}/{slot}", message)

    def take(self, name: bytes, slot: str) -> bytes | None:
        return self._cloud.take(f"/mailboxes/{UUID(bytes=name)}/{slot}")

    def clear(self, name: bytes) -> None:
        """The cloud throws them away with the code's ten minutes."""


def _login(me: Self) -> DeviceLogin:
    return DeviceLogin(me.vault, Seeds(me.sign_seed, me.kem_seed))
