"""What a refused request is told: a problem document (RFC 9457) with a stable `code`, a sentence, and the fields at fault.

The one place that turns errors into HTTP. An error nobody foresaw becomes a 500 that says nothing but the request's id;
what it said stays out of the answer and out of the log, because it may quote a person.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap
from msgspec import Struct, structs

from cloud_api.http.languages import Messages, preferred
from cloud_api.http.refusals import (
    ExplainedError,
    GoneError,
    InvalidFieldError,
    KeyReusedError,
    NotAuthenticatedError,
    PreconditionFailedError,
    PreconditionRequiredError,
    RateLimitedError,
    StorageFullError,
    UnsupportedMediaError,
)
from cloud_api.http.request_ids import request_id
from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    QuotaExceededError,
    SunaivaError,
    UnavailableError,
)

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:sunaiva:problem:"
"""Followed by the code. A name, not an address: what it means stands in the reference, which may move."""

# A pool or a database recovers within seconds, and everybody who was refused comes back at that time.
UNAVAILABLE_RETRY_SECONDS = 3
FIELDS_MAX = 50
# Names and sentences may quote what somebody sent; whoever sent it knows it, and gets it back shortened.
QUOTED_CHARS_MAX = 200
DETAIL_CHARS_MAX = 1_500

_NOT_JSON = "The body is not valid JSON in UTF-8."
# msgspec names the object these happen in, and the field in the sentence only.
_FIELD_IN_SENTENCE = re.compile(r"Object (?:missing required|contains unknown) field `([^`]*)`")
_WHOLE_BODY = "data"  # what Litestar calls it
_NO_BODY = repr(_WHOLE_BODY)  # what it says when there is none

logger = structlog.get_logger(__name__)

# The most specific first.
_STATUS: tuple[tuple[type[SunaivaError], int], ...] = (
    (NotAuthenticatedError, 401),
    (RateLimitedError, 429),
    (PreconditionFailedError, 412),
    (PreconditionRequiredError, 428),
    (KeyReusedError, 422),
    (GoneError, 410),
    (UnsupportedMediaError, 415),
    (StorageFullError, 507),
    (NotFoundError, 404),
    (ConflictError, 409),
    (InvalidError, 400),
    (ForbiddenError, 403),
    (QuotaExceededError, 403),
    (UnavailableError, 503),
    (CorruptError, 500),
)
CODES = {
    400: "invalid",
    401: "not_authenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    409: "conflict",
    410: "gone",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "idempotency_key_reused",
    428: "precondition_required",
    429: "rate_limited",
    503: "unavailable",
    507: "storage_full",
}
"""The code of a status, where no error of ours says a closer one."""

OAUTH_ERRORS = frozenset(
    {
        "authorization_pending",
        "slow_down",
        "access_denied",
        "expired_token",
        "invalid_client",
        "unsupported_grant_type",
    }
)
"""Codes of ours that are RFC 6749's or RFC 8628's as they stand."""
OAUTH_MEDIA_TYPE = "application/json"
"""RFC 6749 §5.2 names it, and strict clients read nothing else."""


class FieldProblem(Struct, frozen=True, omit_defaults=True):
    """What is wrong with one field. `source` is body, query, path, header or cookie."""

    field: str
    message: str
    source: str | None = None


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every answer from 400 on."""

    type: str
    title: str
    status: int
    detail: str
    localized_detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] = []
    about: dict[str, str | int] = {}
    """What a program needs in order to go on, by names that the operation's description gives."""


class OAuthProblem(Problem, frozen=True, kw_only=True):
    """Of a route with `opt={"oauth": True}`: `error` is what programs that know RFC 6749 and RFC 8628 go by."""

    error: str


def status_of(error: SunaivaError) -> int:
    return next(status for family, status in _STATUS if isinstance(error, family))


def problem_handlers(messages: Messages) -> ExceptionHandlersMap:
    """For Litestar's `exception_handlers`."""

    def refuse(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
        status, code, detail, fields = _read(error)
        detail = _shortened(detail, DETAIL_CHARS_MAX)
        if status >= 500 and not isinstance(error, (UnavailableError, StorageFullError)):
            logger.error("unexpected_error", exc_info=error)
        language = preferred(request.headers.get("accept-language", ""))
        body = Problem(
            type=TYPE + code,
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            localized_detail=detail
            if language == "en"
            else messages.get(code, {}).get(language, detail),
            code=code,
            request_id=request_id(request.scope),
            errors=[_bounded(each) for each in fields[:FIELDS_MAX]],
            about=dict(error.about) if isinstance(error, ExplainedError) else {},
        )
        headers = {"content-language": language, **_headers(error, status)}
        media_type = MEDIA_TYPE
        if _is_oauth(request):
            body = OAuthProblem(**structs.asdict(body), error=oauth_error(code, status))
            media_type = OAUTH_MEDIA_TYPE
        return Response(body, status_code=status, media_type=media_type, headers=headers)

    return {SunaivaError: refuse, HTTPException: refuse, Exception: refuse}


def oauth_error(code: str, status: int) -> str:
    if code in OAUTH_ERRORS:
        return code
    match status:
        case 429:
            return "slow_down"  # whoever polls goes on, and asks less often
        case 503:
            return "temporarily_unavailable"
        case 500:
            return "server_error"
        case _:
            return "invalid_request"


def _is_oauth(request: Request[Any, Any, Any]) -> bool:
    scope: Any = request.scope
    handler = scope.get("route_handler")  # none where no route was found
    return handler is not None and bool(handler.opt.get("oauth"))


def _read(error: Exception) -> tuple[int, str, str, list[FieldProblem]]:
    match error:
        case InvalidFieldError(field=field, source=source):
            return 400, error.code, str(error), [FieldProblem(field, str(error), source)]
        case SunaivaError():
            return status_of(error), error.code, str(error), []
        case ValidationException(extra=list(found)):
            fields = [_field(each) for each in found if isinstance(each, dict)]
            return 400, "invalid", _sentence(fields), fields
        case HTTPException(status_code=status) if status < 500:
            return status, CODES.get(status, "invalid"), _plain(error, status), []
        case UnicodeDecodeError():
            # Litestar lets this one through; nothing else here decodes what somebody sent.
            return 400, "invalid", _NOT_JSON, []
        case RecursionError():
            # Only decoding a body recurses by as much as somebody else says.
            return 400, "nested_too_deep", "The body is nested too deeply. Send it flatter.", []
        case _:
            return (
                500,
                "unexpected",
                "Something unexpected happened here. It was noted; try again later.",
                [],
            )


def _bounded(problem: FieldProblem) -> FieldProblem:
    return FieldProblem(
        _shortened(problem.field, QUOTED_CHARS_MAX),
        _shortened(problem.message, QUOTED_CHARS_MAX),
        problem.source,
    )


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _field(found: Mapping[str, Any]) -> FieldProblem:
    source, message = found.get("source"), str(found.get("message", ""))
    if message == _NO_BODY:
        message = "The body is missing."
    inside = _FIELD_IN_SENTENCE.match(message)
    path = [str(found.get("key", "")), inside[1] if inside else ""]
    return FieldProblem(
        field=".".join(each for each in path if each not in ("", _WHOLE_BODY)),
        message=message,
        source=None if source is None else str(getattr(source, "value", source)),
    )


def _sentence(fields: list[FieldProblem]) -> str:
    if not fields:
        return "The request cannot be read. The reference says what it has to look like."
    return "; ".join(
        f"{short.field}: {short.message}" if short.field else short.message
        for short in map(_bounded, fields[:3])
    )


def _plain(error: HTTPException, status: int) -> str:
    match status:
        case 404:
            return "There is nothing at this address."
        case 405:
            return "This address does not know that method."
        case 408:
            return "The body took too long to arrive."
        case 413:
            return "The body is too large."
        case 400 if isinstance(error.__cause__, msgspec.MsgspecError):
            return _NOT_JSON
        case _:
            return error.detail


def _headers(error: Exception, status: int) -> dict[str, str]:
    if isinstance(error, RateLimitedError):
        return {"retry-after": str(error.retry_after_seconds)}
    if status == 503:
        return {"retry-after": str(UNAVAILABLE_RETRY_SECONDS)}
    if status == 401:
        return {"www-authenticate": 'Bearer realm="sunaiva"'}
    return dict(error.headers or {}) if isinstance(error, HTTPException) else {}
