"""Time as an argument: nothing in the product asks the machine what time it is except `system_clock`.

Instants are aware UTC datetimes with millisecond precision, because that is what the vault, the wire and the
exports keep; `to_ms` and `from_ms` are exact inverses on them.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Returns the present instant: aware, UTC, whole milliseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def system_clock() -> datetime:
    return whole_milliseconds(datetime.now(UTC))  # noqa: TID251 (the one place that asks the machine)


def whole_milliseconds(moment: datetime) -> datetime:
    """The instant in UTC, cut to milliseconds. A naive datetime is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return from_ms(to_ms(aware))


def to_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    return _EPOCH + milliseconds * _MILLISECOND
