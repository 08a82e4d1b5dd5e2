"""A letter becomes a message: words of the person's language in one layout, as text and as HTML, with headers nobody can add to.

Pure: the words and the layout come in as arguments, nothing is sent or kept here. What a stranger may have typed stands in a
paragraph, where it is escaped, or in an address, which must be one address; never in another header.
"""

import string
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any

import msgspec
from jinja2 import Template
from msgspec import Struct

from cloud_api.notifications.domains import ascii_domain
from cloud_api.notifications.letters import (
    LETTERS,
    ConfirmNewAddress,
    DeletionDone,
    ExportReady,
    Letter,
    MailId,
    ResetPassword,
    VerifyAddress,
    is_optional,
    kind_named_by,
    kind_of,
)
from shared.errors import InvalidError

# RFC 5321 §4.5.3.1.3: a path of 256 octets with its angle brackets.
ADDRESS_BYTES_MAX = 254


class _MailPolicy(EmailPolicy):
    """A long link in a header stays one word: the standard policy would encode it, and no mail program finds it then."""

    def fold(self, name: str, value: str) -> str:
        if name in _UNFOLDED:
            return f"{name}: {value}{self.linesep}"
        folded: str = super().fold(name, value)
        return folded

    def fold_binary(self, name: str, value: str) -> bytes:
        if name in _UNFOLDED:
            return self.fold(name, value).encode("ascii")
        return super().fold_binary(name, value)


_UNFOLDED = ("List-Unsubscribe", "Message-ID")
MAIL_POLICY = _MailPolicy(linesep="\r\n", cte_type="7bit")


class AddressUnusableError(InvalidError):
    code = "mail_address_unusable"


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words of one kind of mail."""

    subject: str
    paragraphs: tuple[str, ...]
    facts: tuple[str, ...] = ()
    button: str | None = None
    notes: tuple[str, ...] = ()


class Frame(Struct, frozen=True, forbid_unknown_fields=True):
    """The words that stand in every mail, and on the page where one unsubscribes."""

    fallback: str
    essential: str
    optional: str
    unsubscribe: str
    question: str
    done: str


class Words(Struct, frozen=True):
    """Everything that mails say in one language."""

    language: str
    frame: Frame
    kept: dict[str, str]
    sections: dict[str, Section]


class Layout(Struct, frozen=True):
    text: Template
    html: Template
    page: Template
    """Where a link leads that asks before it does something."""


class Envelope(Struct, frozen=True, kw_only=True):
    """What stands around a letter."""

    id: MailId
    sender: str
    """As MAIL_FROM says it, with or without a name: `Sunaiva <hello@example.org>`."""
    to: str
    written_at: datetime
    unsubscribe_link: str | None


def words(language: str, document: dict[str, Any]) -> Words:
    """Parses one language's file; every kind of mail must be there."""
    sections = {kind_named_by(letter): document[kind_named_by(letter)] for letter in LETTERS}
    return Words(
        language=language,
        frame=msgspec.convert(document["frame"], Frame),
        kept=msgspec.convert(document["kept"], dict[str, str]),
        sections={kind: msgspec.convert(each, Section) for kind, each in sections.items()},
    )


def compose(letter: Letter, words: Words, layout: Layout, envelope: Envelope) -> EmailMessage:
    """The message as it is handed to a mailer.

    Raises:
        AddressUnusableError: the address is not exactly one address.
    """
    section = words.sections[kind_of(letter)]
    values = _values(letter)
    about = {
        "language": words.language,
        "heading": section.subject,
        "paragraphs": [each.format_map(values) for each in section.paragraphs],
        "facts": [*(each.format_map(values) for each in section.facts), *_kept(letter, words)],
        "button": section.button,
        "link": getattr(letter, "link", None),
        "notes": [each.format_map(values) for each in section.notes],
        "fallback": words.frame.fallback,
        "why": words.frame.optional if is_optional(kind_of(letter)) else words.frame.essential,
        "unsubscribe": words.frame.unsubscribe,
        "unsubscribe_link": envelope.unsubscribe_link,
    }
    message = EmailMessage(policy=MAIL_POLICY)
    sender = parse_sender(envelope.sender)
    message["From"] = sender
    message["To"] = parse_address(envelope.to)
    message["Subject"] = section.subject
    message["Date"] = envelope.written_at
    message["Message-ID"] = f"<{envelope.id}@{sender.domain}>"
    # RFC 3834: no vacation note and no ticket system shall answer a machine.
    message["Auto-Submitted"] = "auto-generated"
    if envelope.unsubscribe_link is not None:
        message["List-Unsubscribe"] = f"<{envelope.unsubscribe_link}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(layout.text.render(about), cte="quoted-printable")
    message.add_alternative(layout.html.render(about), subtype="html", cte="quoted-printable")
    message["Content-Language"] = words.language  # set_content removes what is about content
    return message


def octets(message: EmailMessage) -> bytes:
    """The message as it crosses the wire; headers in UTF-8 only where the address cannot be written otherwise (RFC 6531)."""
    return message.as_bytes(policy=MAIL_POLICY.clone(utf8=needs_utf8(message)))


def needs_utf8(message: EmailMessage) -> bool:
    return not addressee(message).isascii()


def addressee(message: EmailMessage) -> str:
    spec = message["To"].addresses[0].addr_spec
    assert isinstance(spec, str)
    return spec


def is_stale(letter: Letter, *, written_at: datetime, now: datetime) -> bool:
    """Whether its link has run out: such a mail would only puzzle whoever gets it."""
    match letter:
        case ResetPassword(minutes=minutes):
            return now >= written_at + timedelta(minutes=minutes)
        case VerifyAddress(hours=hours) | ConfirmNewAddress(hours=hours):
            return now >= written_at + timedelta(hours=hours)
        case ExportReady(until=until):
            return now >= until
        case _:
            return False


def parse_address(text: str) -> Address:
    """One address without a name; its domain in ASCII, because not every server on the way takes another.

    Raises:
        AddressUnusableError: it is none, or more than one, or holds what would end a header.
    """
    if len(text.encode(errors="replace")) > ADDRESS_BYTES_MAX or not text.isprintable():
        raise _unusable()
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or any(mark in text for mark in ' ,;:<>()[]"\\'):
        raise _unusable()
    # Else the email package, folding a header, decodes it (RFC 2047) and writes what comes out: an address, or a line of its own.
    if "=?" in text:
        raise _unusable()
    try:
        return Address(username=local, domain=ascii_domain(domain))
    except (UnicodeError, ValueError, IndexError):
        raise _unusable() from None


def parse_sender(text: str) -> Address:
    """`Sunaiva <hello@example.org>` or the address alone.

    Raises:
        AddressUnusableError: there is no address, or the name holds what would end a header.
    """
    name, bracket, rest = text.rpartition("<")
    if not bracket:
        return parse_address(text)
    if not text.isprintable() or not rest.endswith(">"):
        raise _unusable()
    address = parse_address(rest.removesuffix(">"))
    return Address(name.strip().strip('"'), address.username, address.domain)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def _unusable() -> AddressUnusableError:
    # Without the address: this sentence ends up in logs.
    return AddressUnusableError("This is not a mail address that can be written to. Check it.")


def _values(letter: Letter) -> dict[str, str]:
    values = {name: getattr(letter, name) for name in letter.__struct_fields__}
    return {
        name: _instant(value) if isinstance(value, datetime) else str(value)
        for name, value in values.items()
    }


def _instant(moment: datetime) -> str:
    # The same in every language, and it says its zone: a mail does not know where it is read.
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _kept(letter: Letter, words: Words) -> list[str]:
    return [words.kept[code] for code in letter.kept] if isinstance(letter, DeletionDone) else []
