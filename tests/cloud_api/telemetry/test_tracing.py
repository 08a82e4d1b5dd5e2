import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from cloud_api.telemetry.tracing import (
    TraceParent,
    Tracing,
    describe,
    parse_traceparent,
    traceparent,
)
from cloud_api.telemetry.trail import Trail, following, present
from cloud_api.telemetry.work import observed

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PLANTED = "correct horse battery staple"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter):
    return Tracing(exporter)


def spans(tracing, exporter):
    tracing.close()
    return {span.name: span for span in exporter.get_finished_spans()}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", TraceParent(TRACE, SPAN)),
        (f"00-{TRACE}-{SPAN}-00", TraceParent(TRACE, SPAN)),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", TraceParent(TRACE, SPAN)),
        (f"00-{TRACE}-{SPAN}-01-too-much", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("", None),
        (None, None),
        (f"cc-{TRACE}-{SPAN}-01-{'x' * 200}", None),
    ],
)
def test_a_traceparent_is_read_as_w3c_says_or_not_at_all(header, expected) -> None:
    assert parse_traceparent(header) == expected


@given(st.text(max_size=80))
def test_no_traceparent_breaks_anything(header) -> None:
    assert parse_traceparent(header) is None


def test_a_span_belongs_to_the_trace_of_the_caller(tracing, exporter) -> None:
    with following(Trail(trace=TRACE, span=SPAN)), tracing.span("request", "GET") as request:
        inside = present()
        with tracing.span("transaction", "transaction"):
            pass
        describe(request, route="/a/{id}", status=200)

    found = spans(tracing, exporter)
    request, transaction = found["GET"], found["transaction"]
    assert format(request.context.trace_id, "032x") == TRACE
    assert format(request.parent.span_id, "016x") == SPAN
    assert transaction.parent.span_id == request.context.span_id
    assert inside.trace == TRACE
    assert inside.span == format(request.context.span_id, "016x")
    assert dict(request.attributes) == {"route": "/a/{id}", "status": 200}


def test_what_a_span_may_not_hold_is_left_out(tracing, exporter) -> None:
    with tracing.span("request", "GET", route="/a?token=x", email="ann@example.org") as span:
        describe(span, name=PLANTED)

    assert dict(spans(tracing, exporter)["GET"].attributes) == {}


def test_a_failed_span_says_what_kind_of_failure_and_not_its_message(tracing, exporter) -> None:
    with pytest.raises(ValueError, match="correct"), tracing.span("call", "stripe"):
        raise ValueError(PLANTED)

    span = spans(tracing, exporter)["stripe"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "ValueError"
    assert PLANTED not in span.to_json()


def test_an_outgoing_call_carries_the_trace_on(tracing, exporter) -> None:
    assert traceparent() is None
    with following(Trail(trace=TRACE, span=SPAN)), tracing.span("call", "mail"):
        header = traceparent()

    span = spans(tracing, exporter)["mail"]
    assert header == f"00-{TRACE}-{span.context.span_id:016x}-01"


def test_without_an_exporter_the_trace_is_still_known() -> None:
    tracing = Tracing()
    with following(Trail(trace=TRACE, span=SPAN)), tracing.span("request", "GET") as span:
        assert span is None
        assert traceparent() == f"00-{TRACE}-{SPAN}-01"
    tracing.close()


def test_a_caller_cannot_decide_that_a_trace_is_recorded(exporter) -> None:
    tracing = Tracing(exporter, share=0.0)
    with following(Trail(trace=TRACE, span=SPAN)), tracing.span("request", "GET"):
        pass

    assert spans(tracing, exporter) == {}


def test_a_job_has_a_trace_of_its_own_and_keeps_what_it_was_given_to_itself(
    tracing, exporter
) -> None:
    trails = []

    async def run(arguments: str) -> None:
        trails.append(present())
        raise ValueError(arguments)

    async def attempt() -> None:
        await watched(PLANTED)

    watched = observed("mail.send", run, tracing=tracing, new_id=lambda: "job-1")
    with pytest.raises(ValueError, match="correct"):
        asyncio.run(attempt())

    span = spans(tracing, exporter)["mail.send"]
    assert trails[0].job == "job-1"
    assert trails[0].trace == format(span.context.trace_id, "032x")
    assert PLANTED not in span.to_json()
