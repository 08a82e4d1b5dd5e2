"""Log lines: one JSON object each, with the request, account, job and trace of the work that wrote it.

Our own code logs an event's name and fields that `redaction` knows: `structlog.get_logger().info("mail_sent", template=…)`.
What libraries log through `logging` comes out in the same form. No line may hold a memory, a secret or an address.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

from cloud_api.telemetry import redaction, trail
from shared.clock import Clock

# What they say is about sockets, connections and files. Others put arguments of jobs or rows into their sentences.
TRUSTED_LOGGERS = ("_granian", "granian", "psycopg.pool", "alembic")
_encoder = msgspec.json.Encoder()


class JsonHandler(logging.Handler):
    """Brings the libraries' lines into our form. Owned by `configure_logs`, which takes the place of every other handler."""

    def __init__(self, stream: TextIO, clock: Clock, account_key: bytes | None) -> None:
        super().__init__()
        self._stream = stream
        self._clock = clock
        self._account_key = account_key

    def filter(self, record: logging.LogRecord) -> bool:
        # What a library does all day is not worth a line; when the server starts and stops is.
        return record.levelno >= logging.WARNING or record.name == "_granian"

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {
            "event": "library_said",
            "logger": record.name,
            "level": record.levelname.lower(),
            "where": f"{record.module}:{record.lineno}",
            "at": self._clock().isoformat(),
            # procrastinate names what it did in `extra`; its sentence repeats a job's arguments.
            "action": record.__dict__.get("action"),
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields |= redaction.described(record.exc_info[1])
        line = redaction.allowed(_with_trail(fields, self._account_key))
        if record.name.startswith(TRUSTED_LOGGERS):
            line["message"] = redaction.scrubbed(record.getMessage())
        self._stream.write(_encoder.encode(line).decode() + "\n")


def configure_logs(
    stream: TextIO, *, clock: Clock, account_key: bytes | None = None, level: int = logging.INFO
) -> None:
    """For a whole process, once, by whoever starts it: both structlog's lines and those of `logging` go to `stream`.

    `account_key` is derived for this alone; the same one gives an account the same pseudonym in every process, and without
    one no account is named.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(JsonHandler(stream, clock, account_key))
    root.setLevel(level)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _trail_adder(account_key),
            _moment_from(clock),
            _describe_exception,
            _redact,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        # A module's logger is made before this is called, and tests call it again.
        cache_logger_on_first_use=False,
    )


_Fields = MutableMapping[str, Any]


def _trail_adder(account_key: bytes | None) -> structlog.types.Processor:
    def add_trail(_logger: object, _method: str, fields: _Fields) -> _Fields:
        return _with_trail(fields, account_key)

    return add_trail


def _with_trail(fields: _Fields, account_key: bytes | None) -> _Fields:
    present = trail.present()
    for name in ("request", "job", "trace", "span"):
        value = getattr(present, name)
        if value is not None:
            fields.setdefault(name, value)
    if present.account is not None and account_key is not None:
        fields.setdefault("account", trail.pseudonym(account_key, present.account))
    return fields


def _moment_from(clock: Clock) -> structlog.types.Processor:
    def add_moment(_logger: object, _method: str, fields: _Fields) -> _Fields:
        fields["at"] = clock().isoformat()
        return fields

    return add_moment


def _describe_exception(_logger: object, _method: str, fields: _Fields) -> _Fields:
    given = fields.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is not None:
        fields.update(redaction.described(error))
    return fields


def _redact(_logger: object, _method: str, fields: _Fields) -> _Fields:
    return redaction.allowed(fields)


def _render(_logger: object, _method: str, fields: _Fields) -> str:
    return _encoder.encode(dict(fields)).decode()
