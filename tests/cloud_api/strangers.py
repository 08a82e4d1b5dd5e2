"""The whole API for requests that nobody foresaw, and people in it who are logged in without having been asked how."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import psycopg
from litestar.testing import TestClient
from litestar.types import ASGIApp
from msgspec import Struct, structs

from cloud_api import deps as wiring
from cloud_api.accounts.signed import SigningKey
from cloud_api.accounts.tokens import Bearer, SessionId, sign_access_token
from cloud_api.app import create_app
from cloud_api.db import AccountId
from cloud_api.deps import Deps
from cloud_api.settings import load
from shared.clock import system_clock
from tests.cloud_api.conftest import new_database
from tests.cloud_api.homes import cloud_folder

_ACCOUNT = """
INSERT INTO accounts (id, mail, mail_key, name, language, password_hash, password_changed_at, created_at)
VALUES (%(account)s, %(mail)s, %(mail)s, 'Somebody', 'en', '$argon2id$made-up', now(), now())
"""
_SESSION = """
INSERT INTO sessions (account_id, id, network, started_at, used_at, expires_at, proved_at)
VALUES (%(account)s, %(session)s, '127.0.0.0/24', now(), now(), now() + interval '7 days', now())
"""


class Unlimited:
    """Counters that have never counted anything: a test of answers asks more often than a person may."""

    async def hit(self, key: str, *, window: int, seconds: int) -> int:
        return 1

    async def close(self) -> None:
        return


class Api(Struct, frozen=True):
    client: TestClient[ASGIApp]
    deps: Deps
    database_url: str
    key: SigningKey

    def token(self) -> str:
        """Of somebody new, who has just logged in."""
        bearer = Bearer(AccountId(uuid4()), SessionId(uuid4()))
        values = {
            "account": bearer.account,
            "session": bearer.session,
            "mail": f"{bearer.account}@example.org",
        }
        with psycopg.connect(self.database_url) as connection:
            connection.execute("SET LOCAL ROLE sunaiva_app")
            connection.execute(
                "SELECT set_config('sunaiva.account', %s, true)", [str(bearer.account)]
            )
            connection.execute(_ACCOUNT, values)
            connection.execute(_SESSION, values)
        issuer = self.deps.accounts.site.issuer
        # A moment ago, so that no clock calls it early.
        now = system_clock() - timedelta(seconds=1)
        return sign_access_token(self.key, issuer, bearer, token_id=str(uuid4()), now=now)

    def jobs(self) -> int:
        """How many were ever enqueued."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("SET LOCAL ROLE sunaiva_app")
            row = connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()
        assert row is not None
        found: int = row[0]
        return found


@contextmanager
def opened_api(server_url: str, template: str) -> Iterator[Api]:
    with new_database(server_url, template) as url, cloud_folder() as home:
        deps = wiring.build(load({"SUNAIVA_CLOUD_HOME": str(home)}), url)
        app = create_app(structs.replace(deps, counters=Unlimited()))
        with TestClient(app, raise_server_exceptions=False) as client:
            key = client.blocking_portal.call(deps.accounts.keys.signing)
            yield Api(client, deps, url, key)
