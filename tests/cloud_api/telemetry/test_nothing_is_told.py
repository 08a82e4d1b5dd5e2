"""A person signs up, logs in and fails at it, through the whole application; then everything it told an operator is searched."""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from litestar import post
from litestar.params import JSONBody
from msgspec import structs
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloud_api import deps as wiring
from cloud_api.db import Database
from cloud_api.deps import Deps
from cloud_api.settings import Settings
from cloud_api.telemetry.logs import configure_logs
from cloud_api.telemetry.tracing import Tracing
from cloud_api.telemetry.trail import pseudonym
from cloud_api.worker import watched
from shared.clock import system_clock
from tests.cloud_api.accounts.people import AGREED, Mailbox, Person
from tests.cloud_api.clients import client_of

pytestmark = pytest.mark.anyio

MAIL = "planted.person@example.org"
PASSWORD = "quiet harbour with nine wooden boats"
NAME = "Planted Name of Somebody"
TEXT = "the summer house key lies under the blue pot"


@post("/api/v1/broken", sync_to_thread=False)
def broken(data: JSONBody[dict[str, str]]) -> None:
    raise ValueError(f"cannot keep {data}")


@dataclass
class Watched:
    deps: Deps
    stream: io.StringIO
    exporter: InMemorySpanExporter

    def everything(self) -> str:
        self.deps.tracing.close()
        spans = "".join(span.to_json() for span in self.exporter.get_finished_spans())
        figures = self.deps.metrics.exposition().decode()
        return "\n".join([self.stream.getvalue(), spans, figures])


@pytest.fixture
def told(settings: Settings, database_url: str) -> Iterator[Watched]:
    exporter, stream = InMemorySpanExporter(), io.StringIO()
    tracing = Tracing(exporter)
    built = wiring.build(settings, database_url, tracing=tracing)
    deps = structs.replace(built, routes=[*built.routes, broken])
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    # Everything there is to say, not only what an operator would see every day.
    configure_logs(
        stream, clock=system_clock, account_key=wiring.account_key(deps), level=logging.DEBUG
    )
    yield Watched(deps, stream, exporter)
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


async def test_no_secret_address_or_text_is_in_lines_figures_or_spans(told: Watched) -> None:
    working = structs.replace(told.deps, jobs=watched(told.deps))
    planted = [MAIL, PASSWORD, NAME, TEXT, "planted", "harbour"]
    async with client_of(told.deps, raises=False) as client:
        person = Person(client, MAIL)
        asked: dict[str, Any] = {"mail": MAIL, "password": PASSWORD, "name": NAME, **AGREED}
        assert (await person.post("/auth/sign-up", asked)).status_code == 202
        link = await Mailbox(working).token(MAIL)
        verifying = {"token": link, "password": PASSWORD}
        assert (await person.post("/auth/verify", verifying)).status_code == 204
        assert (await person.log_in("not " + PASSWORD)).status_code == 401
        assert (await person.log_in(PASSWORD)).status_code == 200
        me = await person.get("/account")
        assert me.status_code == 200
        assert (await person.post("/broken", {"text": TEXT, "mail": MAIL})).status_code == 500
        assert (await person.get(f"/nowhere/{MAIL}?q={TEXT}")).status_code == 404
        assert (await person.post("/auth/verify", {"token": link, "name": NAME})).status_code == 400
        planted += [link, person.access_token, person.refresh_token, me.json()["id"]]

    shown = told.everything()

    assert [each for each in planted if each.lower() in shown.lower()] == []
    # The search would find them: what may be told is there.
    assert '"event":"request_failed"' in shown
    assert '"error":"ValueError"' in shown
    assert 'route="/api/v1/account/"' in shown or 'route="/api/v1/account"' in shown
    assert '"name": "transaction"' in shown
    assert "mail" in shown
    named = pseudonym(wiring.account_key(told.deps), me.json()["id"])
    assert f'"account":"{named}"' in shown


async def test_the_figures_say_when_the_database_is_away(told: Watched) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none", connections_max=2)
    deps = structs.replace(told.deps, db=away)
    async with away:
        await wiring.refresh_figures(deps)

    assert "sunaiva_database_up 0.0" in told.deps.metrics.exposition().decode()
