"""Accounts for the measurement, put into the database at once, and access tokens for those who will ask."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import psycopg
from msgspec import Struct

from cloud_api import deps as wiring
from cloud_api.accounts.sessions.rules import SESSION_LIFE_MAX
from cloud_api.accounts.signed import Issuer, SigningKey
from cloud_api.accounts.tokens import Bearer, SessionId, sign_access_token
from cloud_api.db import AccountId
from cloud_api.settings import Settings
from shared.clock import system_clock

_ACCOUNTS = (
    "COPY accounts (id, mail, mail_key, name, language, password_hash, password_changed_at, created_at) "
    "FROM STDIN"
)
_SESSIONS = "COPY sessions (id, account_id, device, network, started_at, used_at, expires_at, proved_at) FROM STDIN"
# Some of what happens to an account, for those whose log is asked for, and its seals: no job has to make them meanwhile.
_SUBJECTS = "INSERT INTO audit_subjects (account_id) SELECT unnest(%s::uuid[])"
_ENTRIES = (
    "INSERT INTO audit_entries (subject, actor, action, network, detail) "
    "SELECT s.subject, 'person', a.action, '127.0.0.0/24', '{}' FROM audit_subjects AS s, "
    "unnest(ARRAY['account.opened', 'session.opened', 'session.opened', 'password.changed', 'session.ended']) AS a (action)"
)
_SEALED_AT_ONCE = 10_000
# Nobody logs in with it: making a real one takes fifty milliseconds each.
_HASH = "$argon2id$made-up"


class Signing(Struct, frozen=True):
    """What the tokens of one installation are signed and verified with."""

    key: SigningKey
    issuer: Issuer

    @property
    def public_key(self) -> str:
        """As a JSON web key."""
        shown = {name: value for name, value in self.key.jwk.items() if name != "d"}
        return msgspec.json.encode(shown).decode()

    def tokens(self, bearers: Sequence[Bearer]) -> list[str]:
        """They are good for a quarter of an hour."""
        now = system_clock()
        return [
            sign_access_token(self.key, self.issuer, each, token_id=str(number), now=now)
            for number, each in enumerate(bearers)
        ]


def fill(superuser_url: str, count: int, seed: int, *, asking: int) -> list[Bearer]:
    """Makes `count` accounts, each logged in once, by COPY; the first `asking` of them have a log."""
    source = random.Random(seed)
    now = datetime.now(UTC)
    bearers = [Bearer(AccountId(_id(source)), SessionId(_id(source))) for _ in range(count)]
    # The superuser, because COPY does not write into a table with row-level security as anybody else.
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        cursor = connection.cursor()
        with cursor.copy(_ACCOUNTS) as rows:
            for number, each in enumerate(bearers):
                since = now - timedelta(days=1 + number % 300)
                mail = f"person{number}@example.org"
                rows.write_row(
                    (each.account, mail, mail, f"Person {number}", "en", _HASH, since, since)
                )
        with cursor.copy(_SESSIONS) as rows:
            for each in bearers:
                ends = now + SESSION_LIFE_MAX
                rows.write_row(
                    (each.session, each.account, "bench", "127.0.0.0/24", now, now, ends, now)
                )
        connection.execute(_SUBJECTS, [[each.account for each in bearers[:asking]]])
        connection.execute(_ENTRIES)
        while connection.execute("SELECT audit_seal(%s)", [_SEALED_AT_ONCE]).fetchone() != (0,):
            pass
        connection.execute("VACUUM ANALYZE")
    return bearers


async def signing(settings: Settings, database_url: str) -> Signing:
    """The key that the installation in this data folder signs with; made if it has none yet."""
    deps = wiring.build(settings, database_url)
    async with wiring.opened(deps):
        return Signing(await deps.accounts.keys.signing(), deps.accounts.site.issuer)


def _id(source: random.Random) -> UUID:
    return UUID(int=source.getrandbits(128), version=4)
