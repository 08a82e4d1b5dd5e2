import base64
import hashlib
import uuid

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_api.telemetry.redaction import FIELDS, REDACTED, allowed, described, is_opaque, scrubbed
from shared.errors import ConflictError

PLANTED = "correct horse battery staple"


def token(number: int) -> bytes:
    """As if by chance, and the same each time: one in a thousand real ones has no digit, and two processes collect one name."""
    return hashlib.sha256(bytes([number])).digest()


def in_url(given: bytes) -> str:
    return base64.urlsafe_b64encode(given).decode().rstrip("=")


def test_fields_that_are_named_with_values_of_their_shape_are_kept() -> None:
    fields = {
        "event": "request_failed",
        "route": "/api/v1/accounts/{account_id:uuid}/sessions",
        "status": 503,
        "account": "0123456789abcdef",
        "error": "DatabaseUnavailableError",
    }

    assert allowed(fields) == fields


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("password", PLANTED),
        ("email", "ann@example.org"),
        ("token", "abc"),
        ("text", "I live in Lyon"),
        ("template", "Dear Ann, your code is 123456"),
        ("route", "/api/v1/account?token=abc"),
        ("code", in_url(token(0))),
        ("name", "ann@example.org"),
        ("status", "ann@example.org"),
        ("account", str(uuid.UUID(int=7))),
        ("status", True),
        ("frames", ["ok:1:f", PLANTED]),
        ("event", f"signed up {PLANTED}"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_anything_else_leaves_only_the_name_of_its_field(field, value) -> None:
    shown = allowed({"event": "something_happened", field: value})

    assert str(value) not in str(shown)
    assert field in str(shown["left_out"])


def test_what_is_absent_is_not_shown() -> None:
    assert allowed({"event": "job_done", "sqlstate": None}) == {"event": "job_done"}


@given(st.text(max_size=80), st.sampled_from(sorted(FIELDS)))
def test_no_field_takes_text_with_spaces_or_an_at_sign(text, field) -> None:
    shown = allowed({field: f"a {text}"})
    addressed = allowed({field: f"a@{text}"})

    # A moment is free text of a moment's length: it is written by the clock alone.
    if field != "at":
        assert shown.get(field) in (None, REDACTED)
        assert addressed.get(field) in (None, REDACTED)


@pytest.mark.parametrize("number", range(20))
def test_tokens_look_made_by_chance(number) -> None:
    assert is_opaque(in_url(token(number)))
    assert is_opaque(token(number)[:16].hex())


@pytest.mark.parametrize(
    "name",
    [
        "DatabaseUnavailableError",
        "OutcomeUnknownError",
        "cloud_api.telemetry.redaction:41:allowed",
        "/api/v1/device-authorisations/{code:str}/approve",
        "test_a_second_factor_of_2026_is_asked_for",
    ],
)
def test_names_do_not(name) -> None:
    assert not is_opaque(name)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Listening at: http://127.0.0.1:8400", "Listening at: http://127.0.0.1:8400"),
        ("cannot reach postgresql://app:hunter2@db:5432/x", f"cannot reach {REDACTED}"),
        ("no mailbox ann@example.org here", f"no mailbox {REDACTED} here"),
        ("Authorization: Bearer abc.def", REDACTED),
        ("got eyJhbGciOi.eyJzdWIiOi.c2ln", f"got {REDACTED}"),
        ("password=hunter2 user=app", f"{REDACTED} user=app"),
        ("Key (email)=('a b') exists", f"Key (email)=({REDACTED}) exists"),
    ],
)  # fmt: skip
def test_what_a_library_says_loses_what_looks_secret(said, shown) -> None:
    assert scrubbed(said) == shown


def test_an_exception_is_its_kind_and_its_places_without_a_message() -> None:
    try:
        try:
            raise ValueError(PLANTED)
        except ValueError as error:
            raise ConflictError(f"{PLANTED} is taken.") from error
    except ConflictError as error:
        shown = described(error)

    assert shown["error"] == "ConflictError"
    assert shown["causes"] == ["ValueError"]
    assert (
        str(shown["frames"])
        .strip("[']")
        .endswith(":test_an_exception_is_its_kind_and_its_places_without_a_message")
    )
    assert PLANTED not in str(shown)
    assert set(allowed(shown)) == {"error", "causes", "frames", "event"}


def test_an_error_of_the_database_names_its_state_but_not_its_row() -> None:
    shown = described(psycopg.errors.UniqueViolation(f"Key (email)=({PLANTED}) already exists."))

    assert shown["sqlstate"] == "23505"
    assert PLANTED not in str(shown)
