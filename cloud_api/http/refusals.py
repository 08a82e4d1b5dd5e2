"""Ways to refuse a request that the families of `shared.errors` do not tell apart, because only HTTP does."""

from shared.errors import ConflictError, ForbiddenError, InvalidError, QuotaExceededError


class InvalidFieldError(InvalidError):
    """One field cannot be used. Raise a subclass with a `code` of its own, or this."""

    code = "invalid_field"

    def __init__(self, field: str, sentence: str, *, source: str = "body") -> None:
        super().__init__(sentence)
        self.field = field
        self.source = source


class NotAuthenticatedError(ForbiddenError):
    """Nobody known: a token is missing, wrong or expired."""

    code = "not_authenticated"


class RateLimitedError(QuotaExceededError):
    code = "rate_limited"

    def __init__(self, sentence: str, *, retry_after_seconds: int) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds


class PreconditionFailedError(ConflictError):
    """If-Match names a version that is not the present one."""

    code = "precondition_failed"


class PreconditionRequiredError(ConflictError):
    """An edit without If-Match could overwrite what somebody else has just written."""

    code = "precondition_required"


class KeyReusedError(InvalidError):
    """One Idempotency-Key for two different requests."""

    code = "idempotency_key_reused"


class StillRunningError(ConflictError):
    """The first request with this Idempotency-Key is not done."""

    code = "idempotency_still_running"


class OutcomeNotKnownError(ConflictError):
    """The first request with this Idempotency-Key ended without leaving its answer."""

    code = "idempotency_outcome_unknown"
