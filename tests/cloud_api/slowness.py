"""Deletions that take their time, as those of a million rows do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from cloud_api.connections import Patience
from cloud_api.db import Database

_SLOW = """
SET ROLE sunaiva_owner;
CREATE FUNCTION takes_long() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.8); RETURN NULL; END$$;
CREATE TRIGGER takes_long AFTER DELETE ON vaults EXECUTE FUNCTION takes_long();
"""


@asynccontextmanager
async def slow_to_delete_vaults(url: str) -> AsyncIterator[Database]:
    """A connection to it that waits for nothing else that long."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
        await owner.execute(_SLOW.encode())
    async with Database(url, patience=Patience(statement_seconds=0.4, silence_seconds=0.2)) as db:
        yield db
