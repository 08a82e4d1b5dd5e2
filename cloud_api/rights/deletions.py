"""Deleting an account: asked for, thought over for two weeks, carried out in one transaction, with a receipt.

Until it is carried out, signing in or the link in the mail keeps the account. After it, nothing in the database says whose the rows
were that are kept.
"""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from msgspec import Struct

from cloud_api.accounts.leaving import addressee, end_all_sessions, signed_in_since
from cloud_api.audit.actions import note
from cloud_api.audit.rules import Entry
from cloud_api.connections import taking
from cloud_api.db import AccountId, Connection
from cloud_api.events import Event, record
from cloud_api.http.idempotency import done_here
from cloud_api.jobs import Task, enqueue
from cloud_api.notifications.actions import send
from cloud_api.notifications.letters import (
    DeletionCancelled,
    DeletionDone,
    DeletionRequested,
    Letter,
    Mail,
)
from cloud_api.rights import rules, store
from cloud_api.rights.exports import REMOVE, BlobNames, Rights, blob_name
from cloud_api.rights.rules import Receipt
from cloud_api.rights.store import DeletionRow
from cloud_api.rights.tokens import new_token, parse_token
from shared.errors import NotFoundError

_BLOBS_PER_JOB_MAX = 500  # one that fails is done again
_DELETE_SECONDS = 600  # for each table: a million sealed batches take longer than a request may


class NoDeletionError(NotFoundError):
    code = "deletion_not_asked"


class ReceiptNotFoundError(NotFoundError):
    code = "receipt_not_found"


class AccountDeleted(Event, frozen=True, kw_only=True):
    """For parts that hold something elsewhere: at a payment provider, in a store for files."""

    name: ClassVar[str] = "rights.account_deleted"


class Due(Struct, frozen=True, forbid_unknown_fields=True):
    account: UUID


CARRY_OUT = Task("rights.delete_account", Due)


async def ask(rights: Rights, account: AccountId) -> DeletionRow:
    """Sets the day; asked again, it stays the same. Every session ends, so that signing in again means something."""
    now, token = rights.clock(), new_token()
    due_at = now + rules.GRACE
    async with rights.db.transaction(account) as connection:
        await done_here(connection)
        is_new = await store.ask_deletion(
            connection, account, digest=token.digest, now=now, due_at=due_at
        )
        if is_new:
            link = f"{rights.public_url}/api/v1/deletions/{token.text}"
            await _write(connection, rights, account, DeletionRequested(due_at=due_at, link=link))
            await note(connection, Entry(action="deletion.asked", account=account, actor="person"))
        await end_all_sessions(connection, account, now=now)
        found = await store.deletion(connection, account)
        assert found is not None
        return found


async def standing(rights: Rights, account: AccountId) -> DeletionRow:
    """
    Raises:
        NoDeletionError: the account is not going to be deleted.
    """
    async with rights.db.transaction(account) as connection:
        found = await store.deletion(connection, account)
    if found is None:
        raise NoDeletionError("This account is not going to be deleted.")
    return found


async def keep(rights: Rights, account: AccountId, *, asked_before: datetime | None = None) -> bool:
    """Calls the deletion off; whether there was one. `asked_before` leaves one that was asked for later."""
    async with rights.db.transaction(account) as connection:
        found = await store.lock_deletion(connection, account)
        if found is None or (asked_before is not None and found.asked_at >= asked_before):
            return False
        await _call_off(connection, rights, account)
        return True


async def account_of_link(rights: Rights, link: str) -> AccountId:
    """
    Raises:
        NoDeletionError: kept already, deleted already, or no link of ours.
    """
    token = parse_token(link)
    account = None
    if token is not None:
        async with rights.db.transaction() as connection:
            account = await store.account_of_deletion(connection, token.digest)
    if account is None:
        raise NoDeletionError(
            "There is no deletion to call off: the account stays already, it is deleted, or the link is cut off."
        )
    return account


async def enqueue_due(rights: Rights, most: int) -> int:
    """Has each account deleted whose day has come; how many."""
    async with rights.db.transaction() as connection:
        found = await store.due(connection, rights.clock(), most)
        for account in found:
            await enqueue(connection, CARRY_OUT, Due(account), once=f"{CARRY_OUT.name}:{account}")
    return len(found)


async def carry_out(rights: Rights, asked: Due) -> None:
    """Deletes everything, or nothing. Done already, called off, or somebody has signed in until this very moment: nothing."""
    account, now, number = AccountId(asked.account), rights.clock(), new_token()
    async with rights.db.transaction(account) as connection:
        found = await store.lock_deletion(connection, account)
        person = await addressee(connection, account)
        if found is None or person is None or found.due_at > now:
            return
        if await signed_in_since(connection, account, found.asked_at):
            # The job that hears of it stands in line behind this one.
            await _call_off(connection, rights, account)
            return
        await note(connection, Entry(action="account.deleted", account=account, actor="system"))
        receipt = await _delete_rows(connection, rights, account, now)
        await store.add_receipt(connection, number.digest, receipt)
        letter = DeletionDone(
            at=now,
            kept=tuple(dict.fromkeys(each.why for each in receipt.kept)),
            link=f"{rights.public_url}/api/v1/deletion-receipts/{number.text}",
        )
        # Of no account: it is sent when there is none any more, and its row must not say whose it was.
        mail = Mail(to=person.mail, language=person.language, letter=letter, account=None)
        await send(connection, mail, key=rights.mail_key)
        await record(connection, AccountDeleted(account=account))


async def read_receipt(rights: Rights, link: str) -> Receipt:
    """
    Raises:
        ReceiptNotFoundError: no receipt has this number.
    """
    token = parse_token(link)
    found = None
    if token is not None:
        async with rights.db.transaction() as connection:
            found = await store.receipt_of(connection, token.digest)
    if found is None:
        raise ReceiptNotFoundError(
            "There is no such receipt. Copy all of its address from the mail."
        )
    return found


async def _call_off(connection: Connection, rights: Rights, account: AccountId) -> None:
    await store.drop_deletion(connection, account)
    await _write(connection, rights, account, DeletionCancelled(at=rights.clock()))
    await note(connection, Entry(action="deletion.cancelled", account=account, actor="person"))


async def _delete_rows(
    connection: Connection, rights: Rights, account: AccountId, now: datetime
) -> Receipt:
    blobs = [blob_name(each) for each in await store.export_digests(connection, account)]
    for table in rights.tables:
        if table.blob is not None:
            blobs += await store.blobs(connection, table, account)
    for start in range(0, len(blobs), _BLOBS_PER_JOB_MAX):
        some = blobs[start : start + _BLOBS_PER_JOB_MAX]
        await enqueue(connection, REMOVE, BlobNames(tuple(some)))
    async with taking(connection, _DELETE_SECONDS):
        # Counted before anything goes: what is kept is found through rows that are deleted.
        rows = {
            each.name: await store.count_rows(connection, each, account) for each in rights.tables
        }
        for table in rights.tables:
            if table.deletion == "deleted":
                await store.delete_rows(connection, table, account)
    return rules.receipt(rights.tables, rows, now=now)


async def _write(
    connection: Connection, rights: Rights, account: AccountId, letter: Letter
) -> None:
    person = await addressee(connection, account)
    if person is not None:
        mail = Mail(to=person.mail, language=person.language, letter=letter, account=account)
        await send(connection, mail, key=rights.mail_key)
