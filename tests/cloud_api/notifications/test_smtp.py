"""The mailer against a real SMTP server in this process, well-behaved and not."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloud_api.notifications.mailer import MailDelayedError, MailRefusedError
from cloud_api.notifications.smtp import (
    CONNECTIONS_MAX,
    SmtpMailer,
    SmtpServer,
    SmtpUrlError,
    parse_smtp_url,
)
from tests.cloud_api.notifications.builders import LINK, a_message

pytestmark = pytest.mark.anyio


class Mailbox:
    """A server's end: takes mail, or answers as it is told."""

    def __init__(self, *, recipient: str = "250 OK", content: str = "250 OK") -> None:
        self.recipient = recipient
        self.content = content
        self.envelopes: list[Envelope] = []
        self.open = 0
        self.open_most = 0
        self.before_answering: Callable[[], Awaitable[object]] | None = None

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self.open += 1
        self.open_most = max(self.open, self.open_most)
        if self.before_answering is not None:
            await self.before_answering()
        self.open -= 1
        self.envelopes.append(envelope)
        return self.content


@asynccontextmanager
async def serving(
    mailbox: Mailbox,
    *,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    require_starttls: bool = False,
    password: str | None = None,
    utf8: bool = True,
) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()

    def check(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object
    ) -> AuthResult:
        is_right = getattr(given, "password", b"") == (password or "").encode()
        return AuthResult(success=is_right, handled=False)

    def protocol() -> SMTP:
        return SMTP(
            mailbox,
            hostname="mail.example.org",
            enable_SMTPUTF8=utf8,
            tls_context=None if implicit else tls,
            require_starttls=require_starttls,
            authenticator=check if password else None,
            auth_required=password is not None,
            loop=loop,
        )

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls if implicit else None)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        yield port


def mailer(port: int, url: str = "smtp://127.0.0.1", **options: object) -> SmtpMailer:
    return SmtpMailer(parse_smtp_url(f"{url}:{port}"), **options)  # type: ignore[arg-type] # tls, timeout_seconds


async def test_a_mail_arrives_as_it_was_written() -> None:
    mailbox = Mailbox()
    async with serving(mailbox) as port:
        await mailer(port).send(a_message())
    (envelope,) = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("hello@example.org", ["ann@example.org"])
    assert isinstance(envelope.content, bytes)
    received = message_from_bytes(envelope.content, policy=default)
    body = received.get_body(("plain",))
    assert body is not None
    assert LINK in body.get_content()
    assert b"\r\nList-Unsubscribe: <https://" in envelope.content


async def test_an_address_in_another_script_arrives_where_the_server_takes_it() -> None:
    mailbox = Mailbox()
    async with serving(mailbox) as port:
        await mailer(port).send(a_message(to="änne@example.org"))
    assert mailbox.envelopes[0].rcpt_tos == ["änne@example.org"]


async def test_an_address_in_another_script_is_refused_where_the_server_takes_none() -> None:
    async with serving(Mailbox(), utf8=False) as port:
        with pytest.raises(MailRefusedError):
            await mailer(port).send(a_message(to="änne@example.org"))


async def test_a_server_that_is_down_delays_the_mail() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        with pytest.raises(MailDelayedError):
            await mailer(taken.getsockname()[1]).send(a_message())


async def test_a_server_that_says_nothing_delays_the_mail() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(MailDelayedError):
            await mailer(silent.getsockname()[1], timeout_seconds=0.2).send(a_message())


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"recipient": "450 4.2.1 Busy"}, MailDelayedError),
        ({"recipient": "550 5.1.1 No such user"}, MailRefusedError),
        ({"content": "451 4.3.0 Try later"}, MailDelayedError),
        ({"content": "554 5.7.1 Looks like spam"}, MailRefusedError),
    ],
    ids=["recipient-later", "recipient-never", "content-later", "content-never"],
)
async def test_a_refusal_is_for_now_or_for_good_as_the_server_says(
    answers: dict[str, str], error: type[Exception]
) -> None:
    async with serving(Mailbox(**answers)) as port:
        with pytest.raises(error) as raised:
            await mailer(port).send(a_message())
    (answer,) = answers.values()
    assert " ".join(answer.split()[:2]) in str(raised.value)


async def test_what_a_server_says_about_a_person_gets_into_no_error() -> None:
    async with serving(
        Mailbox(recipient="550 5.1.1 <ann@example.org> moved to eve@example.org")
    ) as port:
        with pytest.raises(MailRefusedError) as raised:
            await mailer(port).send(a_message())
    assert "@" not in str(raised.value)


async def test_a_wrong_password_delays_the_mail_until_it_is_mended(tmp_path: Path) -> None:
    ours, theirs = _contexts(tmp_path)
    mailbox = Mailbox()
    async with serving(mailbox, tls=theirs, require_starttls=True, password="right") as port:
        with pytest.raises(MailDelayedError, match="535"):
            await mailer(port, "smtp://sunaiva:wrong@127.0.0.1", tls=ours).send(a_message())
        await mailer(port, "smtp://sunaiva:right@127.0.0.1", tls=ours).send(a_message())
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_mail_goes_over_tls(tmp_path: Path, scheme: str) -> None:
    ours, theirs = _contexts(tmp_path)
    mailbox = Mailbox()
    implicit = scheme == "smtps"
    async with serving(
        mailbox, tls=theirs, implicit=implicit, require_starttls=not implicit
    ) as port:
        await mailer(port, f"{scheme}://127.0.0.1", tls=ours).send(a_message())
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_that_nobody_vouches_for_delays_the_mail(
    tmp_path: Path, scheme: str
) -> None:
    _, theirs = _contexts(tmp_path)
    mailbox = Mailbox()
    async with serving(mailbox, tls=theirs, implicit=scheme == "smtps") as port:
        with pytest.raises(MailDelayedError):
            await mailer(port, f"{scheme}://127.0.0.1").send(a_message())
    assert mailbox.envelopes == []


async def test_without_tls_nothing_is_said_to_another_machine() -> None:
    mailbox = Mailbox()
    async with serving(mailbox) as port:
        elsewhere = SmtpServer(host="127.0.0.1", port=port, security="starttls")
        with pytest.raises(MailDelayedError):
            await SmtpMailer(elsewhere).send(a_message())
    assert mailbox.envelopes == []


async def test_many_mails_at_once_share_few_connections() -> None:
    mailbox = Mailbox()
    all_in = asyncio.Event()

    async def wait_for_the_others() -> None:
        if mailbox.open == CONNECTIONS_MAX:
            all_in.set()
        await asyncio.wait_for(all_in.wait(), 10)

    mailbox.before_answering = wait_for_the_others
    async with serving(mailbox) as port:
        ours = mailer(port)
        messages = [a_message(number=number) for number in range(3 * CONNECTIONS_MAX)]
        await asyncio.gather(*(ours.send(message) for message in messages))
    assert len(mailbox.envelopes) == 3 * CONNECTIONS_MAX
    assert mailbox.open_most == CONNECTIONS_MAX


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (
            "smtp://mail.example.org",
            SmtpServer(host="mail.example.org", port=587, security="starttls"),
        ),
        (
            "smtps://us%40er:p%3Aw@mail.example.org",
            SmtpServer(
                host="mail.example.org", port=465, security="tls", username="us@er", password="p:w"
            ),
        ),
        (
            "smtp://localhost:1025",
            SmtpServer(host="localhost", port=1025, security="starttls_if_offered"),
        ),
    ],
    ids=["starttls", "tls", "local"],
)
async def test_smtp_url_says_how_to_connect(url: str, server: SmtpServer) -> None:
    assert parse_smtp_url(url) == server


@pytest.mark.parametrize(
    "url",
    ["", "http://x", "smtp://", "smtp://h:99999", "smtp://h/path", "smtp://u:secret@h?tls=no"],
)
async def test_an_smtp_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SmtpUrlError) as refused:
        parse_smtp_url(url)
    assert "secret" not in str(refused.value)


async def test_a_password_is_not_printed_with_its_server() -> None:
    assert "secret" not in repr(parse_smtp_url("smtp://user:secret@mail.example.org"))


def _contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client that trusts one certificate for 127.0.0.1, and a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.org")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    chain = folder / "chain.pem"
    chain.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(chain)
    return ssl.create_default_context(cafile=str(chain)), theirs
