"""Any mailer, watched: a span for the call to another machine, and a count of what became of it. Never who it was to."""

from email.message import EmailMessage

from cloud_api.notifications.mailer import MailDelayedError, Mailer, MailRefusedError
from cloud_api.telemetry.metrics import Metrics
from cloud_api.telemetry.tracing import Tracing


class ObservedMailer:
    def __init__(self, mailer: Mailer, metrics: Metrics, tracing: Tracing) -> None:
        self._mailer = mailer
        self._metrics = metrics
        self._tracing = tracing

    async def send(self, message: EmailMessage) -> None:
        try:
            with self._tracing.span("call", "mail"):
                await self._mailer.send(message)
        except MailDelayedError:
            self._metrics.mail_ended("delayed")
            raise
        except MailRefusedError:
            self._metrics.mail_ended("refused")
            raise
        self._metrics.mail_ended("sent")
