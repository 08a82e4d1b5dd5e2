"""Spans around a request, a transaction, a job and a call to another machine, and the trace they belong to.

Without an exporter nothing is recorded and nothing leaves this machine; the trace's id is in the log all the same. A span
may hold what a log line may hold, never an exception's message, a path with ids in it or a query. Whoever calls us may
name the trace (W3C Trace Context) but not decide that it is recorded: that would let strangers fill the collector.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import msgspec
from msgspec import Struct
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from cloud_api.telemetry import redaction, trail
from shared.errors import InvalidError

Kind = Literal["request", "transaction", "job", "call"]

_KINDS = {
    "request": SpanKind.SERVER,
    "transaction": SpanKind.CLIENT,
    "job": SpanKind.CONSUMER,
    "call": SpanKind.CLIENT,
}
# Version 00 of https://www.w3.org/TR/trace-context/#traceparent-header; later ones begin with the same four fields.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACEPARENT_CHARS_MAX = 128
_TRACE_BYTES, _SPAN_BYTES = 16, 8
_NO_SPAN: AbstractContextManager[None] = nullcontext()


class TraceParent(Struct, frozen=True):
    """Where a caller's part of a trace ends and ours begins."""

    trace: str
    span: str


class Tracing:
    """Owns what spans are handed to. With no exporter `span` costs next to nothing."""

    def __init__(self, exporter: SpanExporter | None = None, *, share: float = 1.0) -> None:
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        if exporter is not None:
            sampler = TraceIdRatioBased(share)
            self._provider = TracerProvider(
                sampler=ParentBased(
                    sampler, remote_parent_sampled=sampler, remote_parent_not_sampled=sampler
                ),
                resource=Resource({"service.name": "sunaiva-cloud"}),
                shutdown_on_exit=False,
            )
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
            self._tracer = self._provider.get_tracer("sunaiva")

    def span(
        self, kind: Kind, name: str, **attributes: str | int
    ) -> AbstractContextManager[Span | None]:
        """Opens a span below the present one; `name` and attributes as a log line could have them."""
        if self._tracer is None:
            return _NO_SPAN
        return _recorded(self._tracer, kind, name, attributes)

    def close(self) -> None:
        """Hands over what is still held back. It waits for the collector, so a process calls it last."""
        if self._provider is not None:
            self._provider.shutdown()


@contextmanager
def _recorded(
    tracer: Tracer, kind: Kind, name: str, attributes: dict[str, str | int]
) -> Iterator[Span]:
    span = tracer.start_span(
        name,
        context=_parent(),
        kind=_KINDS[kind],
        attributes=_attributes(attributes),
        record_exception=False,
    )
    own = span.get_span_context()
    here = msgspec.structs.replace(
        trail.present(),
        trace=format(own.trace_id, f"0{2 * _TRACE_BYTES}x"),
        span=format(own.span_id, f"0{2 * _SPAN_BYTES}x"),
    )
    try:
        with trail.following(here):
            yield span
    except BaseException as error:
        span.set_status(StatusCode.ERROR)
        span.set_attribute("error.type", type(error).__qualname__)
        raise
    finally:
        span.end()


def describe(span: Span | None, **attributes: str | int) -> None:
    """What is only known when the work is done: a route, a status."""
    if span is not None:
        span.set_attributes(_attributes(attributes))


def parse_traceparent(header: str | None) -> TraceParent | None:
    """None if there is none or it means nothing: a caller's mistake must not fail its request."""
    if header is None or len(header) > _TRACEPARENT_CHARS_MAX:
        return None
    match = _TRACEPARENT.fullmatch(header)
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if not int(match[2], 16) or not int(match[3], 16):
        return None
    return TraceParent(match[2], match[3])


def traceparent() -> str | None:
    """For the headers of an outgoing call, so that the other side's spans are found with ours."""
    present = trail.present()
    if present.trace is None or present.span is None:
        return None
    return f"00-{present.trace}-{present.span}-01"


def new_trace() -> TraceParent:
    return TraceParent(secrets.token_hex(_TRACE_BYTES), secrets.token_hex(_SPAN_BYTES))


def otlp(endpoint: str) -> SpanExporter:
    """Sends spans to a collector by OTLP over gRPC.

    Raises:
        InvalidError: the exporter is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 (gRPC is large, and most installations have no collector)
            OTLPSpanExporter,
        )
    except ImportError as error:
        raise InvalidError(
            "A collector is configured, but its exporter is not installed: "
            "pip install opentelemetry-exporter-otlp-proto-grpc, or leave OTEL_EXPORTER_OTLP_ENDPOINT out."
        ) from error
    return OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))


def _parent() -> Context:
    present = trail.present()
    if present.trace is None or present.span is None:
        return Context()
    above = SpanContext(
        int(present.trace, 16),
        int(present.span, 16),
        # Remote, so that the sampler decides by the trace's id, for every span of it the same.
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(above), Context())


def _attributes(given: dict[str, str | int]) -> dict[str, str | int]:
    kept = redaction.allowed(given)
    return {
        name: value
        for name, value in kept.items()
        if isinstance(value, str | int) and name in given
    }
