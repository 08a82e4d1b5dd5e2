"""What may be written to a person: one struct for each kind of mail, with everything that its text needs.

A new kind of mail is a struct here and a section in each file under `words/`; a test refuses one without the other. No letter
carries a subject or a text of its own, so that nothing a stranger typed can become a header. A link in a letter may be a secret:
letters are sealed wherever they are kept, and must never be logged.
"""

from datetime import datetime
from typing import NewType
from uuid import UUID

import msgspec
from msgspec import Struct

from cloud_api.db import AccountId

MailId = NewType("MailId", UUID)


class VerifyAddress(Struct, frozen=True, tag="verify_address", tag_field="kind"):
    link: str
    hours: int


class AddressInUse(Struct, frozen=True, tag="address_in_use", tag_field="kind"):
    """Somebody signed up with an address that has an account: only its owner is told, never who signed up."""

    link: str
    """Where one sets a new password, if that is why somebody signed up again."""


class ResetPassword(Struct, frozen=True, tag="reset_password", tag_field="kind"):
    link: str
    minutes: int


class PasswordChanged(Struct, frozen=True, tag="password_changed", tag_field="kind"):
    at: datetime
    link: str
    """Where one resets the password, if it was somebody else."""


class ConfirmNewAddress(Struct, frozen=True, tag="confirm_new_address", tag_field="kind"):
    """To the new address, which is not trusted before its link was opened."""

    link: str
    hours: int


class AddressChanging(Struct, frozen=True, tag="address_changing", tag_field="kind"):
    """To the old address, which is the only one that its owner certainly reads."""

    at: datetime
    link: str
    """Where one stops the change."""


class FactorAdded(Struct, frozen=True, tag="factor_added", tag_field="kind"):
    at: datetime
    link: str
    """Where one resets the password, if it was somebody else."""


class FactorRemoved(Struct, frozen=True, tag="factor_removed", tag_field="kind"):
    at: datetime
    link: str


class FactorsLost(Struct, frozen=True, tag="factors_lost", tag_field="kind"):
    """Who reset the password says so; whether that is the owner, only the owner can tell."""

    due_at: datetime
    link: str
    """Where one keeps them."""


class NewSignIn(Struct, frozen=True, tag="new_sign_in", tag_field="kind"):
    at: datetime
    device: str
    network: str
    """Shortened, as the audit log keeps it."""
    link: str
    """Where one ends the session."""


class DeviceApproved(Struct, frozen=True, tag="device_approved", tag_field="kind"):
    """A terminal was connected: a session that lasts."""

    at: datetime
    device: str
    network: str
    link: str
    """Where one resets the password, if it was somebody else."""


class DeletionRequested(Struct, frozen=True, tag="deletion_requested", tag_field="kind"):
    due_at: datetime
    link: str
    """Where one keeps the account after all."""


class DeletionCancelled(Struct, frozen=True, tag="deletion_cancelled", tag_field="kind"):
    at: datetime


class DeletionDone(Struct, frozen=True, tag="deletion_done", tag_field="kind"):
    at: datetime
    kept: tuple[str, ...]
    """Codes of what is kept, and why; the words of each language say them."""
    link: str
    """Where the receipt is."""


class ExportReady(Struct, frozen=True, tag="export_ready", tag_field="kind"):
    link: str
    until: datetime


Letter = (
    VerifyAddress
    | AddressInUse
    | ResetPassword
    | PasswordChanged
    | ConfirmNewAddress
    | AddressChanging
    | FactorAdded
    | FactorRemoved
    | FactorsLost
    | NewSignIn
    | DeviceApproved
    | DeletionRequested
    | DeletionCancelled
    | DeletionDone
    | ExportReady
)

LETTERS: tuple[type[Letter], ...] = Letter.__args__

# Mails that one may do without. Everything else is either the next step of what the person just did, or the only sign that
# somebody else did it: whoever has taken an account over must not be able to silence those. An export's link stands in its
# mail and nowhere else.
OPTIONAL_KINDS = frozenset({"new_sign_in"})


class Mail(Struct, frozen=True, kw_only=True):
    """One mail to one person."""

    to: str
    language: str
    """As the person's settings or an Accept-Language header have it; what we have no words in becomes English."""
    letter: Letter
    account: AccountId | None
    once: str | None = None
    """What caused it, where the cause may happen twice (an event is delivered at least once): a second mail is not sent."""


def kind_of(letter: Letter) -> str:
    return kind_named_by(type(letter))


def kind_named_by(letter: type[Letter]) -> str:
    tag = letter.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def is_optional(kind: str) -> bool:
    return kind in OPTIONAL_KINDS


class SealedPart(Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a mail that is a person's or a secret, as it is sealed in the table and gone after sending."""

    to: str
    letter: Letter


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(SealedPart)


def encode(part: SealedPart) -> bytes:
    return _ENCODER.encode(part)


def decode(text: bytes) -> SealedPart:
    return _DECODER.decode(text)
