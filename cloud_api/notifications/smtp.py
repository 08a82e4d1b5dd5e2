"""Mail over SMTP, by SMTP_URL.

Nothing is said in the clear to another machine: `smtp://` means STARTTLS and `smtps://` TLS from the first byte, and only a server on
this machine may go without. Each message has its own connection, because mails are few and a kept connection dies unnoticed.
"""

import asyncio
import re
import ssl
from email.message import EmailMessage
from typing import Literal
from urllib.parse import unquote, urlsplit

import aiosmtplib
from msgspec import Struct

from cloud_api.notifications.mailer import MailDelayedError, MailRefusedError
from cloud_api.notifications.rules import addressee, needs_utf8, octets
from shared.errors import InvalidError

CONNECTIONS_MAX = 4  # most providers take ten from one customer, and there may be several workers

# RFC 5321 §4.5.3.2 would wait for minutes at each step; a worker's slot is dearer, and the job comes back anyhow.
_TIMEOUT_SECONDS = 20.0

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS = {"smtp": 587, "smtps": 465}
_PERMANENT = range(500, 600)
_STATUS = re.compile(r"\d\.\d{1,3}\.\d{1,3}")  # RFC 3463, the part of an answer that names nobody


class SmtpUrlError(InvalidError):
    code = "smtp_url_invalid"


class SmtpServer(Struct, frozen=True, kw_only=True):
    host: str
    port: int
    security: Literal["tls", "starttls", "starttls_if_offered"]
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"SmtpServer({self.host}:{self.port}, {self.security})"


def parse_smtp_url(url: str) -> SmtpServer:
    """`smtp://name:password@host:587` or `smtps://name:password@host:465`.

    Raises:
        SmtpUrlError: it is something else. The sentence does not repeat it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad_url() from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise _bad_url()
    if parts.scheme == "smtps":
        security: Literal["tls", "starttls", "starttls_if_offered"] = "tls"
    else:
        security = "starttls_if_offered" if parts.hostname in _LOOPBACK else "starttls"
    return SmtpServer(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        security=security,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


class SmtpMailer:
    """Owns how many connections are open; safe to share within one event loop."""

    def __init__(
        self,
        server: SmtpServer,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._server = server
        self._tls = tls or ssl.create_default_context()
        self._timeout_seconds = timeout_seconds
        self._connections = asyncio.Semaphore(CONNECTIONS_MAX)

    async def send(self, message: EmailMessage) -> None:
        async with self._connections:
            try:
                await self._send(message)
            except aiosmtplib.SMTPRecipientsRefused as error:
                raise _answered("recipient", error.recipients[0], is_about_this_mail=True) from None
            except aiosmtplib.SMTPDataError as error:
                raise _answered("content", error, is_about_this_mail=True) from None
            except aiosmtplib.SMTPResponseException as error:
                # A wrong password or sender is our mistake, not the mail's: it goes out once that is mended.
                raise _answered("session", error, is_about_this_mail=False) from None
            except aiosmtplib.SMTPNotSupported:
                raise _not_supported(message) from None
            except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
                raise MailDelayedError(
                    f"The mail server could not be reached ({type(error).__name__}). It will be tried again."
                ) from None

    async def _send(self, message: EmailMessage) -> None:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            timeout=self._timeout_seconds,
            use_tls=server.security == "tls",
            start_tls={"tls": False, "starttls": True, "starttls_if_offered": None}[
                server.security
            ],
            tls_context=self._tls,
        )
        async with client:
            # Not `send_message`, which would write the headers anew in a policy of its own.
            await client.sendmail(
                message["From"].addresses[0].addr_spec,
                addressee(message),
                octets(message),
                mail_options=["SMTPUTF8"] if needs_utf8(message) else [],
            )


def _not_supported(message: EmailMessage) -> MailDelayedError | MailRefusedError:
    if needs_utf8(message):
        return MailRefusedError("The mail server takes no address with letters beyond ASCII.")
    return MailDelayedError(
        "The mail server lacks what SMTP_URL asks for: STARTTLS, or a way to log in that we know."
    )


def _answered(
    stage: str, error: aiosmtplib.SMTPResponseException, *, is_about_this_mail: bool
) -> MailDelayedError | MailRefusedError:
    status = _STATUS.search(error.message)
    said = f"{error.code} {status.group()}" if status else str(error.code)
    if is_about_this_mail and error.code in _PERMANENT:
        return MailRefusedError(f"The mail server refused the {stage} for good ({said}).")
    return MailDelayedError(f"The mail server refused the {stage} for now ({said}).")


def _bad_url() -> SmtpUrlError:
    return SmtpUrlError(
        "SMTP_URL is not understood: write smtp://name:password@host:587 (STARTTLS) or smtps://name:password@host:465 (TLS)."
    )
