"""`sunaiva-cloud admin audit verify`."""

import pytest

from cloud_api.audit.actions import AuditDisagreesError, note
from cloud_api.audit.commands import verify
from cloud_api.audit.rules import Entry
from cloud_api.audit.store import seal
from cloud_api.db import Database

pytestmark = pytest.mark.anyio


async def test_verifying_prints_a_head_that_the_next_time_can_be_asked_for(
    db: Database, database_url: str
) -> None:
    async with db.transaction() as connection:
        await note(connection, Entry(action="key.rotated", account=None, actor="system"))
    async with db.transaction() as connection:
        await seal(connection, 10)
    sentence, head = (await verify(database_url, known=None)).split("\n")
    assert sentence.startswith("1 sealed entries agree")
    assert (await verify(database_url, known=head)).endswith(head)
    with pytest.raises(AuditDisagreesError, match="no longer holds"):
        await verify(database_url, known="1:" + "00" * 32)
