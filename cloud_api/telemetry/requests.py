"""Around every HTTP request: its trail, a span, its figures, and a line if it failed or took long.

It wraps the whole application, not a route, so that answers to unknown paths and to failures of other middleware are seen
as well. It must never read a body, nor say more of a path than the template of its route.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

import structlog

from cloud_api.telemetry.metrics import METHODS, OTHER, Metrics
from cloud_api.telemetry.tracing import Tracing, describe, new_trace, parse_traceparent
from cloud_api.telemetry.trail import Trail, following

SLOW_SECONDS = 1.0
UNMATCHED = "unmatched"
_FAILED = 500
# What lasts as long as nothing happens.
_EVENTS = b"text/event-stream"
_LONG_POLL = "/wait"
# Nobody was there any more to get an answer (nginx's word for it).
_CALLER_LEFT = 499

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = structlog.get_logger()


class ObservedRequests:
    """An ASGI application around another one, inside of whatever gives a request its id."""

    def __init__(
        self,
        app: Any,
        *,
        metrics: Metrics,
        tracing: Tracing,
        request_id: Callable[[Scope], str],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing
        self._request_id = request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        parent = parse_traceparent(_traceparent_of(scope)) or new_trace()
        method = scope["method"] if scope["method"] in METHODS else OTHER
        status = _CALLER_LEFT
        is_stream = False

        async def sending(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = _is_stream(message)
            await send(message)

        self._metrics.request_began()
        trail = Trail(request=self._request_id(scope), trace=parent.trace, span=parent.span)
        with following(trail), self._tracing.span("request", method, method=method) as span:
            try:
                await self._app(scope, receive, sending)
            except Exception:
                status = _FAILED
                raise
            finally:
                route = scope.get("path_template") or UNMATCHED
                seconds = perf_counter() - began
                self._metrics.request_ended(
                    method=method, route=route, status=status, seconds=seconds
                )
                describe(span, route=route, status=status)
                waits = is_stream or route.endswith(_LONG_POLL)
                _note(method=method, route=route, status=status, seconds=seconds, waits=waits)


def _traceparent_of(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            header: str = value.decode("latin-1")
            return header
    return None


def _is_stream(start: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(_EVENTS)
        for name, value in start.get("headers", ())
    )


def _note(*, method: str, route: str, status: int, seconds: float, waits: bool) -> None:
    """Figures count every request; a line is only worth its place where somebody will want to look. What is there to wait is not slow."""
    if status < _FAILED and (waits or seconds < SLOW_SECONDS):
        return
    event = "request_failed" if status >= _FAILED else "request_was_slow"
    log.warning(event, method=method, route=route, status=status, ms=round(seconds * 1000, 1))
