from email.message import EmailMessage
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloud_api.notifications.folder import FolderMailer
from cloud_api.notifications.mailer import MailDelayedError, Mailer, MailRefusedError
from cloud_api.notifications.observed import ObservedMailer
from cloud_api.telemetry.metrics import Metrics
from cloud_api.telemetry.tracing import Tracing

pytestmark = pytest.mark.anyio


class Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def send(self, message: EmailMessage) -> None:
        raise self._error


def letter() -> EmailMessage:
    message = EmailMessage()
    message["To"] = "ada@example.org"
    message["From"] = "Sunaiva <sunaiva@localhost>"
    message["Subject"] = "Hello"
    message["Message-ID"] = "<hello@sunaiva.localhost>"
    message.set_content("Hello")
    return message


async def test_what_becomes_of_each_mail_is_counted_and_who_it_was_to_is_not_told(
    tmp_path: Path,
) -> None:
    metrics, exporter = Metrics(), InMemorySpanExporter()
    tracing = Tracing(exporter)
    mailers: list[Mailer] = [
        FolderMailer(tmp_path, production=False),
        Failing(MailDelayedError("Later.")),
        Failing(MailRefusedError("Never.")),
    ]
    for mailer in mailers:
        observed = ObservedMailer(mailer, metrics, tracing)
        try:
            await observed.send(letter())
        except (MailDelayedError, MailRefusedError):
            continue

    tracing.close()
    shown = metrics.exposition().decode()
    for outcome in ("sent", "delayed", "refused"):
        assert f'sunaiva_mails_total{{outcome="{outcome}"}} 1.0' in shown
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["mail"] * 3
    assert "ada@example.org" not in "".join(span.to_json() for span in spans) + shown
