"""`sunaiva-cloud admin audit …`: what staff asks the log in a terminal."""

from cloud_api.audit import actions
from cloud_api.db import Database


async def verify(database_url: str, *, known: str | None) -> str:
    """A sentence that says how far the log agrees with its seals, and the head to note elsewhere.

    Raises:
        AuditDisagreesError: it does not agree.
        HeadInvalidError: `known` is no head.
    """
    head = None if known is None else actions.parse_head(known)
    async with Database(database_url, connections_max=2) as db:
        verified = await actions.verify(db, known=head)
    return (
        f"{verified.sealed} sealed entries agree with their seals. Note this where nobody of this database can change it:\n"
        f"{verified.head}"
    )
