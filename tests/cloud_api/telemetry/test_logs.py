import io
import json
import logging
from datetime import UTC, datetime

import pytest
import structlog

from cloud_api.telemetry.logs import configure_logs
from cloud_api.telemetry.trail import Trail, following, name_account, pseudonym

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = b"k" * 32
ACCOUNT = "0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20"
PLANTED = "correct horse battery staple"


@pytest.fixture
def lines():
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    configure_logs(stream, clock=lambda: NOW, account_key=KEY)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_names_request_account_and_trace(lines) -> None:
    with following(Trail(request="r-1", trace="a" * 32, span="b" * 16)):
        name_account(ACCOUNT)
        structlog.get_logger().info("mail_sent", template="welcome")
    structlog.get_logger().info("process_started")

    assert lines() == [
        {
            "event": "mail_sent", "template": "welcome", "level": "info", "request": "r-1", "account": pseudonym(KEY, ACCOUNT),
            "trace": "a" * 32, "span": "b" * 16, "at": "2026-03-01T12:00:00+00:00",
        },
        {"event": "process_started", "level": "info", "at": "2026-03-01T12:00:00+00:00"},
    ]  # fmt: skip


def test_the_same_account_has_the_same_pseudonym_only_under_the_same_key() -> None:
    assert pseudonym(KEY, ACCOUNT) == pseudonym(KEY, ACCOUNT)
    assert pseudonym(KEY, ACCOUNT) != pseudonym(b"l" * 32, ACCOUNT)
    assert ACCOUNT[:8] not in pseudonym(KEY, ACCOUNT)


def test_a_secret_given_to_a_line_is_left_out(lines) -> None:
    structlog.get_logger().warning("signed_up", password=PLANTED, email="ann@example.org", count=3)

    [line] = lines()
    assert line["left_out"] == ["email", "password"]
    assert line["count"] == 3
    assert PLANTED not in str(line)


def test_an_exception_in_a_line_has_no_message(lines) -> None:
    try:
        raise ValueError(PLANTED)
    except ValueError:
        structlog.get_logger().exception("job_failed")

    [line] = lines()
    assert line["error"] == "ValueError"
    assert line["level"] == "error"
    assert PLANTED not in str(line)


def test_what_a_library_logs_has_our_form_and_not_its_sentence(lines) -> None:
    with following(Trail(job="j-1")):
        logging.getLogger("procrastinate.worker").error(
            "Job send_mail(%s) failed", PLANTED, extra={"action": "job_error"}
        )

    [line] = lines()
    assert line["logger"] == "procrastinate.worker"
    assert line["action"] == "job_error"
    assert line["job"] == "j-1"
    assert line["where"].startswith("test_logs:")
    assert PLANTED not in str(line)


def test_a_library_that_speaks_of_sockets_may_finish_its_sentence(lines) -> None:
    logging.getLogger("_granian").info("Listening at: http://%s:8400", "127.0.0.1")

    assert [line["message"] for line in lines()] == ["Listening at: http://127.0.0.1:8400"]
