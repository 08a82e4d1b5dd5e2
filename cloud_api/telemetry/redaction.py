"""What a log line or a span may hold: fields that are named here, each with the shape its values have.

This is the last line of defence; nobody should hand it a secret in the first place. It goes by what is allowed, because
no pattern tells a password or a memory from other words. What is not allowed leaves only the name of its field. It must
never let an exception's message through: PostgreSQL's repeat the row, and ours the person's input.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

FRAMES_MAX = 12  # the innermost ones tell where it broke
CAUSES_MAX = 4
MESSAGE_CHARS_MAX = 300
REDACTED = "[redacted]"

Shape = Callable[[object], bool]

_EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+){0,7}")
_NAME = re.compile(r"[A-Za-z_/*{<][A-Za-z0-9_.:/*{}<>-]{0,119}")
_HEX = re.compile(r"[0-9a-f]{16}([0-9a-f]{16})?")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,255}")
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_RUN = re.compile(r"[A-Za-z0-9_-]{20,}")  # shorter ones are codes at most, and no field takes those
_NUMBER_MAX = 10**15

# In what a library says, which is not ours to shape.
_SECRETS = (
    # A mail address, and a link with a password in it as well.
    re.compile(r"[^\s@<>\"'(=]+@[^\s@<>\"')]+"),
    re.compile(r"(?i)\b(bearer|basic)\s+\S+"),
    re.compile(r"\beyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){0,2}"),
    re.compile(
        r"(?i)\b(pass(word|wd|phrase)?|secret|token|code|key|cookie|authorization)\s*[=:]\s*\S+"
    ),
    re.compile(r"'[^']*'|\"[^\"]*\""),  # values that a message quotes
    re.compile(r"[A-Za-z0-9_+/=-]{32,}"),
)


def is_opaque(text: str) -> bool:
    """Whether some run of characters looks made by chance, as tokens are and names are not."""
    return any(_looks_made_by_chance(run) for run in _RUN.findall(text))


def _looks_made_by_chance(run: str) -> bool:
    # Of 20 characters in base64url or hexadecimal, fewer than two digits are rare; a name of ours has a year at most.
    digits = sum(character.isdigit() for character in run)
    cases = min(sum(map(str.isupper, run)), sum(map(str.islower, run)))
    return digits >= 5 or (digits >= 1 and cases >= 4)


def _matching(pattern: re.Pattern[str]) -> Shape:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and not is_opaque(value)


def _number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < _NUMBER_MAX
    )  # fmt: skip


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(_name(each) for each in value)


# Whoever wants to log another field names it here, with the narrowest shape that fits.
FIELDS: Mapping[str, Shape] = {
    "event": _matching(_EVENT),
    "request": _matching(_ID),
    "account": _matching(_HEX),
    "trace": _matching(_HEX),
    "span": _matching(_HEX),
    "job": _matching(_ID),
    "level": _name,
    "at": lambda value: isinstance(value, str) and len(value) <= len("2026-01-01T00:00:00.000000+00:00"),
    "logger": _name,
    "where": _name,
    "method": _name,
    "route": _name,
    "status": _number,
    "ms": _number,
    "code": lambda value: _name(value) or _number(value),
    "kind": _name,
    "error": _name,
    "causes": _names,
    "frames": _names,
    "sqlstate": _matching(_SQLSTATE),
    "constraint": _name,
    "task": _name,
    "queue": _name,
    "state": _name,
    "outcome": _name,
    "template": _name,
    "language": _name,
    "action": _name,
    "name": _name,
    "environment": _name,
    "url": _matching(_ORIGIN),
    "revision": _matching(_ID),
    "host": _name,
    "port": _number,
    "attempt": _number,
    "attempts": _number,
    "count": _number,
    "processes": _number,
    "jobs": _number,
    "rows": _number,
    "seconds": _number,
    "bytes": _number,
    "version": _matching(re.compile(r"[0-9][0-9A-Za-z.+-]{0,31}")),
    "embedded": _flag,
    "retry": _flag,
}  # fmt: skip


def allowed(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that may be seen; the names of the others under `left_out`."""
    kept: dict[str, object] = {}
    left_out: list[str] = []
    for name, value in fields.items():
        shape = FIELDS.get(name)
        if value is None:
            continue
        if shape is not None and shape(value):
            kept[name] = value
        else:
            left_out.append(name if _name(name) else REDACTED)
    kept.setdefault("event", REDACTED)
    if left_out:
        kept["left_out"] = sorted(left_out)
    return kept


def scrubbed(message: str) -> str:
    """What a library says about itself, without what looks like a secret, an address, or a quoted value."""
    for pattern in _SECRETS:
        message = pattern.sub(REDACTED, message)
    return message[:MESSAGE_CHARS_MAX]


def described(error: BaseException) -> dict[str, object]:
    """An exception as fields: its kind, where it was raised, and what caused it. Never its message."""
    fields: dict[str, object] = {
        "error": type(error).__qualname__,
        "frames": _frames(error.__traceback__),
    }
    causes = [type(cause).__qualname__ for cause in _causes(error)]
    if causes:
        fields["causes"] = causes
    for each in (error, *_causes(error)):
        sqlstate = getattr(each, "sqlstate", None)
        if sqlstate is not None:
            fields["sqlstate"] = sqlstate
            fields["constraint"] = getattr(getattr(each, "diag", None), "constraint_name", None)
            break
    return fields


def _causes(error: BaseException) -> Sequence[BaseException]:
    found: list[BaseException] = []
    following = error.__cause__ or error.__context__
    while following is not None and len(found) < CAUSES_MAX:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found


def _frames(traceback: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "unknown")
        frames.append(f"{module}:{traceback.tb_lineno}:{traceback.tb_frame.f_code.co_name}")
        traceback = traceback.tb_next
    return frames[-FRAMES_MAX:]
