"""Ways to refuse a request that the families of `shared.errors` do not tell apart, because only HTTP does."""

from collections.abc import Mapping

from shared.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    QuotaExceededError,
    SunaivaError,
)


class ExplainedError(SunaivaError):
    """Raised together with a family: `about` is what a program needs in order to go on, by names that stay the same."""

    def __init__(self, sentence: str, **about: str | int) -> None:
        super().__init__(sentence)
        self.about: Mapping[str, str | int] = about


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


class GoneError(NotFoundError):
    """It was there, and is not any more; what stands in for it is named."""

    code = "gone"


class StorageFullError(QuotaExceededError):
    """There is no more room for what somebody wants to store."""

    code = "storage_full"


class UnsupportedMediaError(InvalidError):
    """A body of a kind that this address does not take."""

    code = "unsupported_media_type"
