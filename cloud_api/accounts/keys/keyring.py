"""The signing keys of this process: read from the database, opened with the installation's secret, kept for a minute.

A private half must never leave this module but as a key that signs.
"""

import asyncio
import base64
import hashlib
from datetime import datetime, timedelta

from cloud_api.accounts.keys import store
from cloud_api.accounts.keys.rules import PUBLISHED_AHEAD, is_due, published_kids, signing_kid
from cloud_api.accounts.keys.store import KeyRow
from cloud_api.accounts.signed import ALGORITHM, SigningKey
from cloud_api.accounts.tokens import NotLoggedInError
from cloud_api.db import Connection, Database
from shared import crypto
from shared.clock import Clock
from shared.errors import UnavailableError

# A withdrawn key is believed for no longer than this.
KEPT = timedelta(minutes=1)
# Whoever sends made-up key ids makes us look no more often than this.
UNKNOWN_ASKED_EVERY = timedelta(seconds=5)


class Keyring:
    """Owns the copy that this process works with."""

    def __init__(self, database: Database, clock: Clock, secret: bytes) -> None:
        self._database = database
        self._clock = clock
        self._sealing = crypto.derive(secret, "signing keys")
        self._rows: list[KeyRow] = []
        self._published: dict[str, dict[str, str]] = {}
        self._opened: dict[str, SigningKey] = {}
        self._read_at: datetime | None = None
        self._reading = asyncio.Lock()

    async def signing(self) -> SigningKey:
        rows = await self._current()
        kid = signing_kid([row.times for row in rows], self._clock())
        if kid is None:
            raise UnavailableError(
                "There is no key to sign with. `sunaiva-cloud admin keys rotate` makes one."
            )
        if kid not in self._opened:
            row = next(row for row in rows if row.kid == kid)
            self._opened[kid] = _opened(row, self._sealing)
        return self._opened[kid]

    async def public(self, kid: str) -> dict[str, str]:
        """The public half of a key whose signatures are believed now.

        Raises:
            NotLoggedInError: there is none of this name.
        """
        await self._current()
        if kid not in self._published:
            await self._look_anew()
        if kid not in self._published:
            raise NotLoggedInError
        return self._published[kid]

    async def published(self) -> list[dict[str, str]]:
        await self._current()
        return list(self._published.values())

    async def rotate(self, connection: Connection, *, withdraw: bool = False) -> str:
        """A new key, which signs once it has been published for a while; with `withdraw` at once, and no other is believed."""
        await store.one_at_a_time(connection)
        now = self._clock()
        first = not any(row.withdrawn_at is None for row in await store.newest(connection))
        if withdraw:
            await store.withdraw_all(connection, now=now)
        row = _new_row(self._sealing, now if first or withdraw else now + PUBLISHED_AHEAD)
        await store.add(connection, row, now=now)
        self._read_at = None
        return row.kid

    async def rotate_when_due(self, connection: Connection) -> str | None:
        await store.one_at_a_time(connection)
        rows = await store.newest(connection)
        due = is_due([row.times for row in rows], self._clock())
        return await self.rotate(connection) if due else None

    async def _look_anew(self) -> None:
        if self._read_at is not None and self._clock() - self._read_at >= UNKNOWN_ASKED_EVERY:
            self._read_at = None
        await self._current()

    async def _current(self) -> list[KeyRow]:
        if self._is_fresh(self._clock()):
            return self._rows
        async with self._reading:
            now = self._clock()
            if not self._is_fresh(now):
                async with self._database.transaction() as connection:
                    self._rows = await store.newest(connection)
                    if not self._rows:
                        # Read again also when it was another process that made the first one just now.
                        await self.rotate_when_due(connection)
                        self._rows = await store.newest(connection)
                kids = published_kids([row.times for row in self._rows], now)
                self._published = {
                    row.kid: _public_jwk(row) for row in self._rows if row.kid in kids
                }
                self._opened = {}
                self._read_at = now
            return self._rows

    def _is_fresh(self, now: datetime) -> bool:
        return self._read_at is not None and now - self._read_at < KEPT


def _new_row(sealing: bytes, signs_from: datetime) -> KeyRow:
    seed = crypto.random_key()
    public_key = crypto.signing_public_key(seed)
    kid = _base64url(hashlib.sha256(public_key).digest()[:12])
    sealed = crypto.seal(sealing, seed, bound_to=kid.encode())
    return KeyRow(kid, public_key, sealed, signs_from, None)


def _opened(row: KeyRow, sealing: bytes) -> SigningKey:
    seed = crypto.open_sealed(sealing, row.sealed_seed, bound_to=row.kid.encode())
    return SigningKey(kid=row.kid, jwk={**_public_jwk(row), "d": _base64url(seed)})


def _public_jwk(row: KeyRow) -> dict[str, str]:
    # RFC 8037 §2: Ed25519 as an octet key pair.
    x = _base64url(row.public_key)
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": ALGORITHM, "kid": row.kid, "x": x}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
