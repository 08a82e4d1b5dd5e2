"""What the person's rights need of an account as a whole: where to write, and to end every session."""

from datetime import datetime

from msgspec import Struct

from cloud_api.accounts.people import store
from cloud_api.accounts.sessions import store as sessions
from cloud_api.db import AccountId, Connection


class Addressee(Struct, frozen=True):
    mail: str
    language: str


async def addressee(connection: Connection, account: AccountId) -> Addressee | None:
    """None once the account is gone."""
    person = await store.person(connection, account)
    return None if person is None else Addressee(person.mail, person.language)


async def signed_in_since(connection: Connection, account: AccountId, moment: datetime) -> bool:
    """Whether somebody has. Nobody does until the transaction has ended, so that what is decided by it stays true."""
    await store.lock_person(connection, account)
    return await sessions.opened_since(connection, account, moment)


async def end_all_sessions(connection: Connection, account: AccountId, *, now: datetime) -> None:
    await sessions.end_all(connection, account, but=None, why="revoked", now=now)
