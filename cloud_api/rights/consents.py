"""What a person has agreed to: which text, when, and when they took it back. Rows are never edited but for that."""

from collections.abc import Mapping
from datetime import datetime

import psycopg

from cloud_api.audit.actions import note
from cloud_api.audit.rules import Entry
from cloud_api.db import AccountId
from cloud_api.http.caller import AccountGoneError
from cloud_api.rights import rules, store
from cloud_api.rights.exports import Rights
from cloud_api.rights.store import ConsentRow
from shared.errors import NotFoundError

SHOWN_MAX = 200  # a row for each text that was ever agreed to


class ConsentNotGivenError(NotFoundError):
    code = "consent_not_given"


async def listed(rights: Rights, account: AccountId) -> list[ConsentRow]:
    return await rights.db.ask(account, store.consents(account, SHOWN_MAX))


async def give(rights: Rights, account: AccountId, kind: str, version: str) -> list[ConsentRow]:
    """Agreeing to a new version takes back the former one.

    Raises:
        ConsentUnknownError, ConsentVersionError
        AccountGoneError: it was deleted meanwhile.
    """
    rules.check_consent(kind, version)
    now = rights.clock()
    async with rights.db.transaction(account) as connection:
        await store.withdraw(connection, account, kind, now, but=version)
        try:
            is_new = await store.give(connection, account, kind, version, now)
        except psycopg.errors.ForeignKeyViolation:
            raise AccountGoneError from None
        if is_new:
            detail = {"kind": kind, "version": version}
            entry = Entry(action="consent.given", account=account, actor="person", detail=detail)
            await note(connection, entry)
        return await store.consents(account, SHOWN_MAX).within(connection)


async def take_over(
    rights: Rights, account: AccountId, agreed: Mapping[str, str], at: datetime
) -> None:
    """What was agreed to when signing up, by kind. Told twice it is one; what was agreed to since then stays."""
    async with rights.db.transaction(account) as connection:
        for kind, version in agreed.items():
            if await store.give(connection, account, kind, version, at):
                detail = {"kind": kind, "version": version}
                entry = Entry(
                    action="consent.given", account=account, actor="person", detail=detail
                )
                await note(connection, entry)


async def withdraw(rights: Rights, account: AccountId, kind: str) -> list[ConsentRow]:
    """
    Raises:
        ConsentUnknownError, ConsentNeededError
        ConsentNotGivenError: there is nothing to take back.
    """
    rules.check_withdrawal(kind)
    async with rights.db.transaction(account) as connection:
        if not await store.withdraw(connection, account, kind, rights.clock()):
            raise ConsentNotGivenError(
                "You have not agreed to this, so there is nothing to take back."
            )
        detail = {"kind": kind}
        entry = Entry(action="consent.withdrawn", account=account, actor="person", detail=detail)
        await note(connection, entry)
        return await store.consents(account, SHOWN_MAX).within(connection)
