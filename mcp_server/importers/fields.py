"""Reading JSON that somebody else wrote: what is absent or of another type is none, never an error."""

from typing import Any


def text(record: object, field: str) -> str | None:
    value = record.get(field) if isinstance(record, dict) else None
    return value if isinstance(value, str) and value.strip() else None


def mapping(record: object, field: str) -> dict[Any, Any]:
    value = record.get(field) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def items(record: object, field: str) -> list[Any]:
    value = record.get(field) if isinstance(record, dict) else None
    return value if isinstance(value, list) else []
