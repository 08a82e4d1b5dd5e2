import asyncio
import io
import json
import logging

import pytest
import structlog
from litestar import Litestar, get
from litestar.params import FromPath
from litestar.testing import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloud_api.telemetry import requests
from cloud_api.telemetry.logs import configure_logs
from cloud_api.telemetry.metrics import Metrics
from cloud_api.telemetry.requests import UNMATCHED, ObservedRequests
from cloud_api.telemetry.tracing import Tracing
from cloud_api.telemetry.trail import present
from shared.clock import system_clock

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PLANTED = "correct horse battery staple"


@get("/notes/{note:str}", sync_to_thread=False)
def note(note: FromPath[str]) -> dict[str, str | None]:
    if note == "broken":
        raise ValueError(PLANTED)
    return {"request": present().request, "trace": present().trace}


class Watched:
    def __init__(self):
        self.stream, self.metrics, self.exporter = io.StringIO(), Metrics(), InMemorySpanExporter()
        configure_logs(self.stream, clock=system_clock, account_key=b"k" * 32)
        self.tracing = Tracing(self.exporter)
        self.app = ObservedRequests(
            Litestar([note], logging_config=None, openapi_config=None),
            metrics=self.metrics, tracing=self.tracing, request_id=lambda scope: "made-here",
        )  # fmt: skip

    def lines(self):
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def everything(self):
        self.tracing.close()
        spans = "".join(span.to_json() for span in self.exporter.get_finished_spans())
        return self.stream.getvalue() + spans + self.metrics.exposition().decode()


@pytest.fixture
def watched():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield Watched()
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


def client(watched):
    return TestClient(watched.app, raise_server_exceptions=False)


def test_a_request_has_an_id_and_the_trace_of_its_caller(watched) -> None:
    with client(watched) as http:
        answer = http.get("/notes/a", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})

    assert answer.json() == {"request": "made-here", "trace": TRACE}


def test_paths_are_counted_by_their_template(watched) -> None:
    with client(watched) as http:
        for path in ("/notes/a", "/notes/b", "/nowhere/ann@example.org"):
            http.get(path)

    shown = watched.metrics.exposition().decode()
    assert '{method="GET",route="/notes/{note}",status="200"} 2.0' in shown
    assert f'{{method="GET",route="{UNMATCHED}",status="404"}} 1.0' in shown


@pytest.mark.parametrize(
    ("path", "kind", "lines"),
    [("/plain", "text/plain", 1), ("/events", "text/event-stream", 0), ("/wait", "text/plain", 0)],
)
def test_what_takes_long_is_a_line_unless_it_is_there_to_wait(
    watched, monkeypatch, path, kind, lines
) -> None:
    monkeypatch.setattr(requests, "SLOW_SECONDS", 0.0)

    @get(path, media_type=kind, sync_to_thread=False)
    def answer() -> str:
        return "data"

    app = Litestar([answer], logging_config=None, openapi_config=None)
    watched.app = ObservedRequests(
        app, metrics=watched.metrics, tracing=watched.tracing, request_id=lambda scope: "made-here"
    )
    with client(watched) as http:
        assert http.get(path).status_code == 200

    assert len([line for line in watched.lines() if line["event"] == "request_was_slow"]) == lines


def test_a_failure_is_one_line_with_its_template(watched) -> None:
    with client(watched) as http:
        assert http.get("/notes/a").status_code == 200
        assert http.get("/notes/broken").status_code == 500

    [line] = [line for line in watched.lines() if line["event"] == "request_failed"]
    assert (line["route"], line["status"], line["request"]) == ("/notes/{note}", 500, "made-here")
    assert "broken" not in str(line)


def test_nothing_a_person_sent_is_in_lines_figures_or_spans(watched) -> None:
    planted = ["hunter2hunter2", "ann@example.org", "tok_51Habcdefghijklmnop"]
    with client(watched) as http:
        for each in planted:
            http.get(f"/notes/{each}?email={each}", headers={"authorization": f"Bearer {each}"})
            http.post(f"/notes/{each}", json={"text": each}, headers={"cookie": f"session={each}"})
            http.get("/notes/broken", params={"q": each})

    shown = watched.everything()
    assert shown.count("request_failed") == len(planted)
    for each in (*planted, PLANTED):
        assert each not in shown


def test_who_leaves_before_the_answer_is_counted_as_gone(watched) -> None:

    async def endless(scope, receive, send):
        raise asyncio.CancelledError

    app = ObservedRequests(
        endless,
        metrics=watched.metrics,
        tracing=watched.tracing,
        request_id=lambda scope: "made-here",
    )

    async def nothing(*_):
        return {}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(app(scope, nothing, nothing))

    assert 'status="499"} 1.0' in watched.metrics.exposition().decode()
