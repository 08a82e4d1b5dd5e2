"""Pages of a list. A cursor says where the next one begins; it is sealed against change, so a list trusts what it reads there.

It is opaque to callers and may change its inside at any time; it tells nothing that the page before did not show.
"""

import base64
import binascii
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from cloud_api.http.refusals import InvalidFieldError
from shared import crypto

PAGE_ITEMS = 50
PAGE_ITEMS_MAX = 200  # what one answer may cost, whoever asks
CURSOR_CHARS_MAX = 512

_TAG_BYTES = 16

T = TypeVar("T")
P = TypeVar("P")


class InvalidCursorError(InvalidFieldError):
    code = "invalid_cursor"


class Page(Struct, Generic[T], frozen=True):
    """One page. `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None = None


class Cursors:
    """Writes and reads cursors with the installation's key."""

    def __init__(self, key: bytes) -> None:
        self._key = crypto.derive(key, "cursors")

    def write(self, listing: str, position: object) -> str:
        """`listing` names the list, so that a cursor of one is not good for another."""
        body = msgspec.msgpack.encode(position)
        return base64.urlsafe_b64encode(self._tag(listing, body) + body).rstrip(b"=").decode()

    def read(self, listing: str, cursor: str, kind: type[P]) -> P:
        """The position that `write` was given.

        Raises:
            InvalidCursorError: this list never gave that cursor.
        """
        refusal = InvalidCursorError(
            "cursor", "This cursor is not one of this list. Begin without one.", source="query"
        )
        if len(cursor) > CURSOR_CHARS_MAX:
            raise refusal
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise refusal from None
        tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not crypto.equal(tag, self._tag(listing, body)):
            raise refusal
        try:
            return msgspec.msgpack.decode(body, type=kind)
        except msgspec.MsgspecError:
            raise refusal from None

    def _tag(self, listing: str, body: bytes) -> bytes:
        return crypto.mac(self._key, listing.encode() + b"\x00" + body)[:_TAG_BYTES]
