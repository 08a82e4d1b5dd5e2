"""The terms of a person's rights: how long one may think it over, how long a link works, what can be consented to."""

from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from cloud_api.personal import PersonalTable
from shared.errors import ConflictError, InvalidError

# Long enough to come back from a holiday; and a stolen session must not be able to destroy an account at once.
GRACE = timedelta(days=14)
EXPORT_LINK_LIFE = timedelta(days=7)
# An export reads everything that there is of a person; who wants more than three a day has a script that went wrong.
EXPORTS_A_DAY_MAX = 3

# What one consents to, and its present version. A version is never edited: another text is another version.
CONSENTS = {"terms": "2026-11-21", "privacy": "2026-11-21", "news": "2026-11-21"}
# Without these there is no account: they end with it, and cannot be withdrawn alone.
NEEDED = frozenset({"terms", "privacy"})


class ConsentUnknownError(InvalidError):
    code = "consent_unknown"


class ConsentVersionError(ConflictError):
    code = "consent_version_outdated"


class ConsentNeededError(ConflictError):
    code = "consent_needed"


class Kept(Struct, frozen=True):
    """What stays of a table, and the code that says why."""

    table: str
    rows: int
    why: str


class Receipt(Struct, frozen=True):
    """Says what a deletion did, and not whose it was."""

    deleted_on: date
    deleted: dict[str, int]
    kept: list[Kept]


def check_consent(kind: str, version: str) -> None:
    """
    Raises:
        ConsentUnknownError: nobody asks for that.
        ConsentVersionError: another text is the present one.
    """
    if kind not in CONSENTS:
        raise ConsentUnknownError(
            f"There is no such consent. There are: {', '.join(sorted(CONSENTS))}."
        )
    if version != CONSENTS[kind]:
        raise ConsentVersionError(
            f"The present version is {CONSENTS[kind]}. Show that text, then send its version."
        )


def check_withdrawal(kind: str) -> None:
    """
    Raises:
        ConsentUnknownError: nobody asks for that.
        ConsentNeededError: it ends with the account only.
    """
    if kind not in CONSENTS:
        raise ConsentUnknownError(
            f"There is no such consent. There are: {', '.join(sorted(CONSENTS))}."
        )
    if kind in NEEDED:
        raise ConsentNeededError(
            "Without this there can be no account. Delete the account, and it ends with it."
        )


def receipt(tables: tuple[PersonalTable, ...], rows: dict[str, int], *, now: datetime) -> Receipt:
    """`rows` says how many there were of each table."""
    deleted = {
        each.name: rows[each.name]
        for each in tables
        if each.deletion in ("deleted", "with_account")
    }
    kept = [Kept(each.name, rows[each.name], each.why) for each in tables if each.why is not None]
    # The receipt itself, which is of no account and so in no declaration.
    return Receipt(now.date(), deleted, [*kept, Kept("deletion_receipts", 1, "receipt")])


def readme(tables: tuple[PersonalTable, ...], *, now: datetime) -> str:
    """What lies beside the files of an export, for a person and for whoever reads it for them."""
    lines = [
        "Everything that the cloud of Sunaiva holds on you",
        "",
        f"Made on {now:%Y-%m-%d %H:%M} UTC. Each file is a table: a JSON list, one object for each row, UTF-8, times in UTC.",
        "Your memories are not in it: they lie on your own devices, and `sunaiva export` writes them out.",
        "",
    ]
    for each in tables:
        if each.shown:
            lines.append(f"{each.name}.json: {', '.join(each.shown)}")
        else:
            lines.append(f"{each.name}: no file")
        lines += [f"    without {column}: {why}" for column, why in each.withheld.items()]
    return "\n".join([*lines, ""])


def row_of(table: PersonalTable, values: tuple[Any, ...]) -> dict[str, Any]:
    row = dict(zip(table.shown, values, strict=True))
    return row | {name: msgspec.Raw(row[name].encode()) for name in table.documents}
