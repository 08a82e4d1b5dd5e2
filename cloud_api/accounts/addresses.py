"""Mail addresses as people type them, and the one form by which two of them are the same mailbox.

It must never decide whether an address exists: only a mail that was answered says that.
"""

import re
import unicodedata

from msgspec import Struct

from cloud_api.notifications.domains import ascii_domain
from shared.errors import InvalidError

# RFC 5321 §4.5.3.1: 64 octets before the @, 254 for what fits between the brackets of a path.
LOCAL_BYTES_MAX = 64
ADDRESS_CHARS_MAX = 254

# Quoted local parts and address literals are legal and used by nobody who wants to receive mail.
_LOCAL = re.compile(r"[^\s\"(),:;<>@\[\\\]\x00-\x1f\x7f]+")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class MailAddress(Struct, frozen=True):
    shown: str
    """As it was typed, for the person and for the envelope."""
    key: str
    """Lower case, its domain in ASCII: equal for addresses that reach one mailbox as far as we may assume."""


class InvalidMailAddressError(InvalidError):
    code = "invalid_mail_address"

    def __init__(self) -> None:
        super().__init__(
            "This is not a mail address that can be written to. Give one like ada@example.org."
        )


def parse_mail_address(text: str) -> MailAddress:
    """The address, or a sentence why it is none.

    Raises:
        InvalidMailAddressError: no mail could be sent there.
    """
    shown = unicodedata.normalize("NFKC", text.strip())
    if len(shown) > ADDRESS_CHARS_MAX or shown.count("@") != 1:
        raise InvalidMailAddressError
    local, _, domain = shown.partition("@")
    # "=?" begins an encoded word (RFC 2047), which who writes or reads a header decodes: another address, or another header.
    if not shown.isprintable() or "=?" in local:
        raise InvalidMailAddressError
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    if not _LOCAL.fullmatch(local) or dots or _size(local) > LOCAL_BYTES_MAX:
        raise InvalidMailAddressError
    key_domain = _ascii_domain(domain)
    # RFC 5321 lets a host tell Ada from ada; no host that people use does, and two accounts for one person cost more.
    return MailAddress(shown=shown, key=f"{_folded(local)}@{key_domain}")


def _folded(local: str) -> str:
    # Not casefold, which makes strauß of one person and strauss of another the same.
    return unicodedata.normalize("NFKC", local.lower())


def _size(local: str) -> int:
    try:
        return len(local.encode())
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell
        raise InvalidMailAddressError from None


def _ascii_domain(domain: str) -> str:
    try:
        found = ascii_domain(domain)
    except UnicodeError:
        raise InvalidMailAddressError from None
    labels = found.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidMailAddressError
    return found
