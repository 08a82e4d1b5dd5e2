"""Accounts for the measurement, put into the database at once, and access tokens for those who will ask."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "EdDSA"
AUDIENCE = "load"
# Longer than any measurement lasts: nobody logs in during one.
TOKEN_LIFE = timedelta(hours=12)

_TABLE = """
SET ROLE sunaiva_owner;
CREATE TABLE load_people (
    id uuid PRIMARY KEY,
    mail text NOT NULL UNIQUE,
    name text NOT NULL,
    created_at timestamptz NOT NULL
);
SELECT protect('load_people', 'id');
RESET ROLE;
"""


def fill(superuser_url: str, count: int, seed: int) -> list[UUID]:
    """Makes `count` accounts, by COPY; returns their ids."""
    source = random.Random(seed)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [UUID(int=source.getrandbits(128), version=4) for _ in range(count)]
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(_TABLE)
        # The superuser, because COPY does not write into a table with row-level security as anybody else.
        with connection.cursor().copy(
            "COPY load_people (id, mail, name, created_at) FROM STDIN"
        ) as rows:
            for number, each in enumerate(ids):
                created = began + timedelta(seconds=number)
                rows.write_row((each, f"person{number}@example.org", f"Person {number}", created))
        connection.execute("VACUUM ANALYZE load_people")
    return ids


class Signer:
    """Owns the key that the tokens of one measurement are signed with."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> str:
        """As a JSON web key."""
        return jwt.algorithms.OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=False)

    def tokens(self, accounts: Sequence[UUID]) -> list[str]:
        now = datetime.now(UTC)
        return [
            jwt.encode(
                {"sub": str(each), "aud": AUDIENCE, "iat": now, "exp": now + TOKEN_LIFE},
                self._key,
                algorithm=ALGORITHM,
            )
            for each in accounts
        ]
