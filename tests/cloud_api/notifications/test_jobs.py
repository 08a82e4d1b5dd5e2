"""A mail from its transaction through the worker to a server that is down, and up again."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from cloud_api import deps as wiring
from cloud_api import jobs
from cloud_api.db import Connection, Database
from cloud_api.deps import Deps
from cloud_api.jobs import ATTEMPTS_MAX, JobRow, Tick
from cloud_api.notifications.actions import DELIVER, Post, send
from cloud_api.notifications.jobs import MAILS_KEPT_DAYS, WAITING_KEPT_DAYS, mail_jobs
from cloud_api.notifications.letters import Mail, PasswordChanged
from cloud_api.settings import load
from tests.cloud_api.accounts.people import drain

pytestmark = pytest.mark.anyio

LETTER = PasswordChanged(datetime(2026, 11, 21, tzinfo=UTC), "https://cloud.example.org/reset")


class Server:
    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self.envelopes.append(envelope)
        return "250 OK"


async def a_mail(deps: Deps) -> Post:
    letters = deps.injected["letters"]
    assert isinstance(letters, Post)
    async with deps.db.transaction() as connection:
        mail = Mail(to="ann@example.org", language="en", letter=LETTER, account=None)
        await send(connection, mail, key=letters.key)
    return letters


async def states(db: Database) -> list[tuple[str, bool]]:
    async with db.transaction() as connection:
        cursor = await connection.execute("SELECT state, sealed IS NULL FROM mails")
        return [(state, is_gone) for state, is_gone in await cursor.fetchall()]


async def deliveries(connection: Connection, *, status: str | None = None) -> list[JobRow]:
    """Among the periodic jobs that every worker finds."""
    found = await jobs.jobs_of(connection, status=status)
    return [each for each in found if each.task == DELIVER.name]


async def test_a_mail_that_finds_no_server_dies_visibly_and_can_be_sent_after_all(
    tmp_path: Path, database_url: str
) -> None:
    server, loop = Server(), asyncio.get_running_loop()
    listener = await loop.create_server(lambda: SMTP(server, loop=loop), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    url = f"smtp://127.0.0.1:{port}"
    settings = load({"SUNAIVA_CLOUD_HOME": str(tmp_path), "SMTP_URL": url})
    deps = wiring.build(settings, database_url)
    async with wiring.opened(deps):
        await a_mail(deps)
        await drain(deps)
        async with deps.db.transaction() as connection:
            (tried,) = await deliveries(connection)
            assert (tried.status, tried.attempts) == ("todo", 1)
            await connection.execute(
                "UPDATE procrastinate_jobs SET attempts = %s, scheduled_at = now() WHERE id = %s",
                [ATTEMPTS_MAX - 1, tried.id],
            )
        await drain(deps)
        async with deps.db.transaction() as connection:
            (dead,) = await deliveries(connection, status="failed")
            assert "ann@example.org" not in str(dead)
            await jobs.replay(connection, dead.id)
        assert await states(deps.db) == [("waiting", False)]
        async with await loop.create_server(lambda: SMTP(server, loop=loop), "127.0.0.1", port):
            await drain(deps)
        assert await states(deps.db) == [("sent", True)]
        assert [each.rcpt_tos for each in server.envelopes] == [["ann@example.org"]]


async def test_what_a_mail_says_is_forgotten_after_a_week_and_the_mail_later(
    deps: Deps, db: Database
) -> None:
    async with wiring.opened(deps):
        letters = await a_mail(deps)
        (_, forget) = mail_jobs(letters)
        now = datetime.now(UTC)
        for days, left in (
            (WAITING_KEPT_DAYS - 1, [("waiting", False)]),
            (WAITING_KEPT_DAYS + 1, [("expired", True)]),
            (MAILS_KEPT_DAYS - 1, [("expired", True)]),
            (MAILS_KEPT_DAYS + 1, []),
        ):
            await forget.run(Tick(now + timedelta(days=days)))
            assert await states(db) == left
