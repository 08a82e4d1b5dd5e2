"""Everything that the cloud holds on a person, as a zip file: asked for, made by a job, mailed as a link, gone after a week.

The file is sealed under a key that is in the link alone, before it leaves this process: neither who runs the store for files nor who
has the database can read it. In the clear it only ever lies in a file without a name, which is gone with the process, however that
ends. All tables are read in one transaction, so that they fit each other.
"""

import asyncio
import tempfile
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import msgspec
from msgspec import Struct

from cloud_api.accounts.leaving import addressee
from cloud_api.audit.actions import note
from cloud_api.audit.rules import Entry
from cloud_api.blobs import BlobNotFoundError, Blobs
from cloud_api.db import AccountId, Connection, Database
from cloud_api.http.idempotency import done_here
from cloud_api.jobs import Task, enqueue
from cloud_api.notifications.actions import MailKey, send
from cloud_api.notifications.letters import ExportReady, Mail
from cloud_api.personal import PersonalTable
from cloud_api.rights import rules, store
from cloud_api.rights.store import ExportRow
from cloud_api.rights.tokens import Token, new_token, parse_token
from cloud_api.rights.wording import Texts
from shared.clock import Clock
from shared.crypto import derive, open_stream, seal_stream
from shared.errors import NotFoundError, QuotaExceededError

SHOWN_MAX = 20  # exports in a list; older ones are gone


class TooManyExportsError(QuotaExceededError):
    code = "exports_too_many"


class ExportLinkError(NotFoundError):
    code = "export_link_over"


class Rights(Struct, frozen=True, kw_only=True):
    """What exports and deletions stand on; `deps` wires it once for a process."""

    db: Database
    blobs: Blobs
    clock: Clock
    mail_key: MailKey
    public_url: str
    tables: tuple[PersonalTable, ...]
    texts: Texts


class Wish(Struct, frozen=True, forbid_unknown_fields=True):
    account: UUID
    export_id: UUID


class BlobNames(Struct, frozen=True, forbid_unknown_fields=True):
    names: tuple[str, ...]


MAKE = Task("rights.make_export", Wish)
REMOVE = Task("rights.remove_blobs", BlobNames)


async def ask(rights: Rights, account: AccountId) -> ExportRow:
    """The export that is being made: a new one, or the one that was asked for already.

    Raises:
        TooManyExportsError: there were enough today.
    """
    now = rights.clock()
    async with rights.db.transaction(account) as connection:
        today = await store.exports_since(connection, account, now - timedelta(days=1))
        newest = await store.exports(connection, account, 1)
        if newest and newest[0].state == "asked":
            return newest[0]
        if today >= rules.EXPORTS_A_DAY_MAX:
            raise TooManyExportsError(
                f"There were {today} exports within a day. The link of the last one still works; ask again tomorrow."
            )
        await done_here(connection)
        export_id = await store.ask_export(connection, account, now)
        if export_id is not None:
            await enqueue(connection, MAKE, Wish(account, export_id))
            await note(connection, Entry(action="export.asked", account=account, actor="person"))
        return (await store.exports(connection, account, 1))[0]


async def make(rights: Rights, wish: Wish) -> None:
    """Writes the file, keeps it, and mails the link. Done again after a failure, it starts anew with another link and another file;
    done twice at once, the one that began last counts.

    Raises:
        BlobsUnavailableError: it has to be tried again.
    """
    account, token = AccountId(wish.account), new_token()
    async with rights.db.transaction(account) as connection:
        begun = await store.begin_export(connection, account, wish.export_id, token.digest)
        if begun is None:
            return
        if begun.former is not None:
            await enqueue(connection, REMOVE, BlobNames((blob_name(begun.former),)))
    with tempfile.TemporaryDirectory(prefix="sunaiva-export-") as folder:
        sealed = Path(folder) / "sealed"
        with tempfile.TemporaryFile() as plain:
            async with rights.db.transaction(account) as connection:
                # Before the first query: every table is then read as it was at one moment.
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                await _write(connection, rights, account, plain)
            size = plain.tell()
            await asyncio.to_thread(_seal, token, plain, sealed)
        await rights.blobs.put(blob_name(token.digest), sealed)
    await _hand_over(rights, account, wish.export_id, token, size)


async def fetch(rights: Rights, link: str) -> BinaryIO:
    """The zip file in the clear, at its end, for the caller to close.

    Raises:
        ExportLinkError: run out, or none of ours.
        BlobsUnavailableError
    """
    over = ExportLinkError("This link has run out, or is cut off. Ask for a new export.")
    token = parse_token(link)
    if token is None:
        raise over
    async with rights.db.transaction() as connection:
        if not await store.is_kept(connection, token.digest, rights.clock()):
            raise over
    with tempfile.TemporaryDirectory(prefix="sunaiva-download-") as folder:
        sealed = Path(folder) / "sealed"
        try:
            await rights.blobs.fetch(blob_name(token.digest), sealed)
        except BlobNotFoundError:
            raise over from None
        return await asyncio.to_thread(_open, token, sealed)


async def listed(db: Database, account: AccountId) -> list[ExportRow]:
    async with db.reading(account) as connection:
        return await store.exports(connection, account, SHOWN_MAX)


async def end_run_out(rights: Rights, most: int) -> int:
    """Ends exports whose time is over, and has their files removed; how many."""
    async with rights.db.transaction() as connection:
        found = await store.run_out(connection, rights.clock(), most)
    for each in found:
        account = AccountId(each.account_id)
        async with rights.db.transaction(account) as connection:
            digest = await store.expire_export(connection, account, each.id)
            if digest is not None:
                await enqueue(connection, REMOVE, BlobNames((blob_name(digest),)))
    return len(found)


async def remove(blobs: Blobs, asked: BlobNames) -> None:
    for name in asked.names:
        await blobs.delete(name)


def blob_name(digest: bytes) -> str:
    """By the digest of the link that opens it: what one making wrote, no other overwrites or removes."""
    return f"exports/{digest.hex()}"


async def _write(
    connection: Connection, rights: Rights, account: AccountId, target: BinaryIO
) -> None:
    encoder = msgspec.json.Encoder()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", rules.readme(rights.tables, now=rights.clock()))
        for table in rights.tables:
            if not table.shown:
                continue
            with archive.open(f"{table.name}.json", "w", force_zip64=True) as file:
                between = b"[\n"
                async for part in store.rows(connection, table, account):
                    for values in part:
                        file.write(between + encoder.encode(rules.row_of(table, values)))
                        between = b",\n"
                file.write(b"[]\n" if between == b"[\n" else b"\n]\n")


async def _hand_over(
    rights: Rights, account: AccountId, export_id: UUID, token: Token, size: int
) -> None:
    now = rights.clock()
    until = now + rules.EXPORT_LINK_LIFE
    async with rights.db.transaction(account) as connection:
        person = await addressee(connection, account)
        is_ready = person is not None and await store.export_is_ready(
            connection,
            account,
            export_id,
            digest=token.digest,
            size=size,
            now=now,
            expires_at=until,
        )
        if person is None or not is_ready:
            # Deleted meanwhile, or begun anew: nobody may find this file later.
            await enqueue(connection, REMOVE, BlobNames((blob_name(token.digest),)))
            return
        link = f"{rights.public_url}/api/v1/exports/{token.text}"
        mail = Mail(
            to=person.mail,
            language=person.language,
            letter=ExportReady(link=link, until=until),
            account=account,
            once=f"export:{export_id}",
        )
        await send(connection, mail, key=rights.mail_key)
        await note(connection, Entry(action="export.ready", account=account, actor="system"))


def _seal(token: Token, plain: BinaryIO, sealed: Path) -> None:
    plain.seek(0)
    with sealed.open("wb") as target:
        seal_stream(derive(token.secret, "cloud/export"), plain, target)


def _open(token: Token, sealed: Path) -> BinaryIO:
    plain: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    try:
        with sealed.open("rb") as source:
            open_stream(derive(token.secret, "cloud/export"), source, plain)
    except BaseException:
        plain.close()
        raise
    return plain
