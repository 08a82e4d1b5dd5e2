"""Every table that holds something of a person, as its own part of the cloud declares it, in the order of deletion.

A new part adds its declarations here. What nobody declared, `faults` finds in the database's own catalogue: `check` and a test say it.
"""

import psycopg

from cloud_api.accounts.personal import PERSONAL as ACCOUNTS
from cloud_api.audit.personal import PERSONAL as AUDIT
from cloud_api.devices.personal import PERSONAL as DEVICES
from cloud_api.notifications.personal import PERSONAL as NOTIFICATIONS
from cloud_api.personal import INTERNAL, PersonalTable
from cloud_api.sync.personal import PERSONAL as SYNC

_RIGHTS = (
    PersonalTable(
        name="exports",
        shown=("id", "state", "asked_at", "ready_at", "expires_at", "bytes"),
        withheld={"account_id": INTERNAL, "digest": "of the link that was mailed to you"},
        deletion="deleted",
    ),
    PersonalTable(
        name="deletions",
        shown=("asked_at", "due_at"),
        withheld={"account_id": INTERNAL, "digest": "of the link that was mailed to you"},
        deletion="deleted",
    ),
    PersonalTable(
        name="consents",
        shown=("id", "kind", "version", "given_at", "withdrawn_at"),
        withheld={"account_id": INTERNAL},
        deletion="deleted",
    ),
)

# The base of the cloud stands below all who could declare for it.
_BASE = (
    PersonalTable(
        name="events",
        shown=("id", "name", "body", "recorded_at"),
        withheld={"account_id": INTERNAL, "dispatched_at": INTERNAL},
        deletion="expires",
    ),
    PersonalTable(
        name="idempotency_keys",
        withheld={
            **dict.fromkeys(
                ("account_id", "caller", "key", "request", "created_at", "done_at"), INTERNAL
            ),
            **dict.fromkeys(
                ("status", "headers", "answer"), "you were given it, and it is gone within a day"
            ),
        },
        deletion="expires",
    ),
)

PERSONAL: tuple[PersonalTable, ...] = (
    *_BASE,
    *NOTIFICATIONS,
    *AUDIT,
    *_RIGHTS,
    *DEVICES,
    *SYNC,
    *ACCOUNTS,
)

_COLUMNS = """
SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') GROUP BY c.relname
"""


def faults(connection: psycopg.Connection) -> list[str]:
    """A sentence for each table or column that export and deletion would miss; none is good."""
    present: dict[str, list[str]] = dict(connection.execute(_COLUMNS).fetchall())
    declared = {each.name: each for each in PERSONAL}
    found = [
        f"The table {name} has an account_id, and no part of the cloud declares it: add it to that part's personal.py."
        for name, columns in sorted(present.items())
        if "account_id" in columns and name not in declared
    ]
    for each in PERSONAL:
        columns = set(present.get(each.name, ()))
        said = {*each.shown, *each.withheld}
        found += [
            f"{each.name}.{column} is neither shown nor withheld: say which."
            for column in sorted(columns - said)
        ]
        found += [
            f"{each.name}.{column} is declared, and not there." for column in sorted(said - columns)
        ]
    return found
