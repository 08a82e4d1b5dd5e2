"""Who is asking: the name that the client of the present request gave itself, for permissions and the access log."""

from contextvars import ContextVar
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

UNNAMED = "unnamed client"
_NAME_CHARS_MAX = 100  # it stands in every line of the access log

_name: ContextVar[str] = ContextVar("caller", default=UNNAMED)


def name() -> str:
    return _name.get()


async def remember_caller(
    ctx: ServerRequestContext[Any, Any], call_next: CallNext
) -> HandlerResult:
    """Middleware: note the caller for the handlers of this request, the threads they run in included."""
    params = ctx.session.client_params
    said = params.client_info.name[:_NAME_CHARS_MAX] if params is not None else ""
    _name.set(said or UNNAMED)
    return await call_next(ctx)
