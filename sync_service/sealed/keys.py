"""Who holds which key: devices, recovery words, epochs. What everything else is sealed with comes from here.

A device has two seeds, made at random, which never leave it. The recovery words stand for two more, by which the person outlives all
their devices. Memories are sealed under epoch keys: random, wrapped for each device and for the recovery words, each opening the one
before it. The account's password is nowhere among them.
"""

import hashlib
from collections.abc import Callable

from msgspec import Struct

from shared import agreement, crypto
from shared.errors import CorruptError, ForbiddenError
from sync_service.changes.ops import ID_BYTES, STREAM_BYTES
from sync_service.sealed.frames import UnreadableError

Random = Callable[[int], bytes]
"""So many random bytes; `secrets.token_bytes`."""

ENTROPY_BYTES = 16
DEVICE_NAME_BYTES_MAX = 200
SEALED_NAME_BYTES_MAX = 512  # more than a name of that length takes, in a later form too
INCARNATION_MAX = 2**32 - 1

_FOR_STREAMS = b"sunaiva/stream/1"
_FOR_EPOCHS = b"sunaiva/epoch/1"
_FOR_PREVIOUS = b"sunaiva/previous/1"
_FOR_NAMES = b"sunaiva/name/1"
_EPOCH_BYTES = 4


class Seeds(Struct, frozen=True):
    """Both private keys of a device, or of the recovery words. Never printed."""

    sign: bytes
    kem: bytes

    def __repr__(self) -> str:
        return "Seeds(…)"

    __str__ = __repr__


def new_seeds(random: Random) -> Seeds:
    return Seeds(random(agreement.SEED_BYTES), random(agreement.SEED_BYTES))


def recovery_seeds(entropy: bytes) -> Seeds:
    """The keys that twelve words stand for. The words have 128 bits of chance: guessing is no danger, and nothing slow is needed."""
    assert len(entropy) == ENTROPY_BYTES
    return Seeds(
        crypto.derive(entropy, "recovery-sign"),
        crypto.derive(entropy, "recovery-kem"),
    )


def sign_public(seeds: Seeds) -> bytes:
    return crypto.signing_public_key(seeds.sign)


def kem_public(seeds: Seeds) -> bytes:
    return agreement.kem_public_key(seeds.kem)


def device_id(sign_public: bytes) -> bytes:
    return hashlib.sha256(sign_public).digest()[:ID_BYTES]


def stream_id(sign_public: bytes, incarnation: int) -> bytes:
    """A device that was cloned or put back from a backup goes on under its next incarnation: no number is used twice."""
    said = _FOR_STREAMS + sign_public + incarnation.to_bytes(4, "big")
    return hashlib.sha256(said).digest()[:STREAM_BYTES]


def new_epoch_key(random: Random) -> bytes:
    return random(crypto.KEY_BYTES)


def wrap_epoch_key(epoch_key: bytes, kem_public: bytes, *, vault: bytes, epoch: int) -> bytes:
    """The epoch key for one device, or for the recovery words.

    Raises:
        InvalidError: nobody can have this public key.
    """
    return agreement.seal_to(kem_public, epoch_key, bound_to=_bound(_FOR_EPOCHS, vault, epoch))


def unwrap_epoch_key(wrapped: bytes, seeds: Seeds, *, vault: bytes, epoch: int) -> bytes:
    """
    Raises:
        UnreadableError: it was wrapped for another key, vault or epoch, or altered.
    """
    try:
        key = agreement.open_sealed_to(
            seeds.kem, wrapped, bound_to=_bound(_FOR_EPOCHS, vault, epoch)
        )
    except ForbiddenError:
        raise unreadable() from None
    return _checked(key)


def seal_previous(previous_key: bytes, epoch_key: bytes, *, vault: bytes, epoch: int) -> bytes:
    """The key of the epoch before `epoch`, for whoever has that of `epoch`: one key opens all history."""
    return crypto.seal(
        crypto.derive(epoch_key, "previous"),
        previous_key,
        bound_to=_bound(_FOR_PREVIOUS, vault, epoch),
    )


def open_previous(sealed: bytes, epoch_key: bytes, *, vault: bytes, epoch: int) -> bytes:
    """
    Raises:
        UnreadableError: another epoch's, or altered.
    """
    key = crypto.derive(epoch_key, "previous")
    try:
        return _checked(
            crypto.open_sealed(key, sealed, bound_to=_bound(_FOR_PREVIOUS, vault, epoch))
        )
    except (ForbiddenError, CorruptError):
        raise unreadable() from None


def check_of(epoch_key: bytes) -> bytes:
    """What the device list publishes of an epoch's key: everybody sees that they got the same, nobody learns it."""
    return crypto.derive(epoch_key, "epoch-check", 16)


def seal_name(name: str, epoch_key: bytes, *, vault: bytes, epoch: int, device: bytes) -> bytes:
    """A device's name, for the other devices only; it says which epoch opens it."""
    said = name.encode()
    assert 0 < len(said) <= DEVICE_NAME_BYTES_MAX
    key = crypto.derive(epoch_key, "names")
    padded = said.ljust(DEVICE_NAME_BYTES_MAX, b"\0")  # its length is nobody's business either
    sealed = crypto.seal(key, padded, bound_to=_bound(_FOR_NAMES, vault, epoch) + device)
    return epoch.to_bytes(_EPOCH_BYTES, "big") + sealed


def epoch_of_name(sealed: bytes) -> int:
    return int.from_bytes(sealed[:_EPOCH_BYTES], "big")


def open_name(sealed: bytes, epoch_key: bytes, *, vault: bytes, device: bytes) -> str:
    """
    Raises:
        UnreadableError: another epoch's, another device's, or altered.
    """
    bound_to = _bound(_FOR_NAMES, vault, epoch_of_name(sealed)) + device
    try:
        padded = crypto.open_sealed(
            crypto.derive(epoch_key, "names"), sealed[_EPOCH_BYTES:], bound_to=bound_to
        )
        return padded.rstrip(b"\0").decode()
    except (ForbiddenError, CorruptError, UnicodeDecodeError):
        raise UnreadableError("The name of a device cannot be read.") from None


def unreadable() -> UnreadableError:
    return UnreadableError(
        "The vault's key, as the device list holds it for this device, does not open. Another device wrote it wrongly, or it was altered."
    )


def _bound(purpose: bytes, vault: bytes, epoch: int) -> bytes:
    return purpose + vault + epoch.to_bytes(_EPOCH_BYTES, "big")


def _checked(key: bytes) -> bytes:
    if len(key) != crypto.KEY_BYTES:
        raise unreadable()
    return key
