"""The seven families of what can go wrong.

Raise the most specific subclass next to the code that knows why; the message is a sentence for the person
(or the model) that says what to do next. Each edge (MCP tools, CLI, HTTP) translates these once.
An expected outcome that the caller branches on is a return value, not one of these.
"""


class SunaivaError(Exception):
    """Never raised directly. `str(error)` is a sentence that can be shown as it is."""

    code = "error"


class NotFoundError(SunaivaError):
    """What was asked for does not exist (any more)."""

    code = "not_found"


class ConflictError(SunaivaError):
    """The world moved on since the caller looked: read again, then decide."""

    code = "conflict"


class InvalidError(SunaivaError):
    """The input cannot be used; nothing was changed."""

    code = "invalid"


class ForbiddenError(SunaivaError):
    """The caller may not do this: a wrong key, a missing permission."""

    code = "forbidden"


class QuotaExceededError(SunaivaError):
    """A named limit was reached; nothing was changed."""

    code = "quota_exceeded"


class UnavailableError(SunaivaError):
    """Something outside of the caller's control is missing now; the same call may work later."""

    code = "unavailable"


class CorruptError(SunaivaError):
    """Stored bytes are not what was written. Nothing was changed or thrown away."""

    code = "corrupt"
