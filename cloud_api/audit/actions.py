"""Noting what happened, reading one's own entries, sealing the log and verifying it.

`note` belongs into the transaction in which the thing happens. It never takes a mail address, a token or a person's words: an entry
outlives the account it speaks of.
"""

from uuid import UUID

import msgspec
from msgspec import Struct

from cloud_api.audit import store
from cloud_api.audit.rules import FIRST, Disagreement, Entry, Head, Value, follow, network_of
from cloud_api.audit.store import OwnEntry
from cloud_api.db import AccountId, Connection, Database
from cloud_api.http.caller import present_address
from shared.errors import CorruptError, InvalidError

PAGE_ENTRIES = 2_000  # some milliseconds of hashing, while the next page is not asked for yet
DETAIL_BYTES_MAX = (
    2_048  # as the table has it: an entry says what happened, not everything about it
)

_ZERO = UUID(int=0)


class AuditDisagreesError(CorruptError):
    code = "audit_disagrees"


class HeadInvalidError(InvalidError):
    code = "audit_head_invalid"


class Verified(Struct, frozen=True):
    sealed: int
    head: Head


class Listed(Struct, frozen=True):
    """An own entry with its detail read."""

    entry: OwnEntry
    detail: dict[str, Value]


async def note(connection: Connection, entry: Entry) -> None:
    """Adds an entry to the log, once this transaction has committed."""
    detail = msgspec.json.encode(entry.detail, order="deterministic").decode()
    assert "@" not in detail, "no mail address gets into the log"
    assert len(detail.encode()) <= DETAIL_BYTES_MAX
    assert (entry.actor == "staff") == (entry.staff is not None)
    await store.add(
        connection,
        account=entry.account,
        actor=entry.actor,
        staff=entry.staff,
        action=entry.action,
        # What the system does by itself comes from nowhere, whoever was served last.
        network=None if entry.actor == "system" else network_of(entry.address or present_address()),
        detail=detail,
    )


async def own_entries(
    db: Database, account: AccountId | None, *, before: UUID | None, most: int
) -> list[Listed]:
    found = await db.ask(account, store.own(before=before, most=most), may_lag=True)
    return [Listed(entry, msgspec.json.decode(entry.detail)) for entry in found]


async def verify(db: Database, *, known: Head | None = None) -> Verified:
    """Goes through the whole log. With `known`, also says whether what was its end then is still part of it.

    Raises:
        AuditDisagreesError: names the first place that is not what was sealed.
    """
    head = Head(0, FIRST)
    is_known_seen = known is None or known == head
    while True:
        async with db.transaction() as connection:
            page = await store.chain(connection, after=head.place, most=PAGE_ENTRIES)
        for step in follow(head, page):
            if isinstance(step, Disagreement):
                raise _disagrees(step)
            head = step
            is_known_seen = is_known_seen or step == known
        if len(page) < PAGE_ENTRIES:
            break
    if not is_known_seen:
        assert known is not None
        sentence = f"The chain no longer holds the seal {known}: it was cut off or written anew."
        raise _disagrees(Disagreement(known.place, None, sentence))
    await _verify_all_accounted(db)
    return Verified(head.place, head)


def parse_head(text: str) -> Head:
    """
    Raises:
        HeadInvalidError: it is not what `audit verify` prints.
    """
    place, colon, seal = text.partition(":")
    try:
        parsed = Head(int(place), bytes.fromhex(seal))
    except ValueError:
        parsed = None
    if parsed is None or not colon or len(parsed.seal) != len(FIRST):
        raise HeadInvalidError(
            "This is no head of the audit log. Give what `sunaiva-cloud admin audit verify` printed: a number, a colon, 64 digits."
        )
    return parsed


async def _verify_all_accounted(db: Database) -> None:
    last = _ZERO
    while True:
        async with db.transaction() as connection:
            page = await store.accounted(connection, after=last, most=PAGE_ENTRIES)
        for entry_id, is_accounted in page:
            if not is_accounted:
                sentence = f"The entry {entry_id} was taken out of the chain."
                raise _disagrees(Disagreement(None, entry_id, sentence))
            last = entry_id
        if len(page) < PAGE_ENTRIES:
            return


def _disagrees(found: Disagreement) -> AuditDisagreesError:
    entry = "" if found.entry_id is None else f" Entry {found.entry_id}."
    return AuditDisagreesError(
        f"The audit log is not what was sealed. {found.sentence}{entry} Compare with a backup from before."
    )
