"""How a new device joins a vault, seen by a server that would like to join instead. Both sides, as values: a message in, a message out.

The newcomer commits itself to its keys before it learns anything of the other side, so that whoever stands between has one guess
in a million at the six digits that both people compare. Without people at both ends, a one-time code of 128 bits takes the place of
the comparison. Nothing is believed before that; nothing secret is sent before that either.
"""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from shared import agreement, crypto
from shared.errors import CorruptError, ForbiddenError, InvalidError, SunaivaError
from sync_service.changes.ops import (
    HASH_BYTES,
    HEADS_MAX,
    ID_BYTES,
    UNREADABLE,
    Head,
    MalformedError,
    is_head,
)
from sync_service.members import entries
from sync_service.members.codes import SECRET_BYTES
from sync_service.members.entries import Newcomer
from sync_service.sealed import keys
from sync_service.sealed.frames import ForgedError
from sync_service.sealed.keys import Seeds

VERSION = 1
# Slots of a mailbox, in the order in which they are filled; a further try begins in the next mailbox (`codes.mailbox_of`).
OFFER, CHALLENGE, REVEAL, WELCOME = range(4)
# A welcome names every stream of the vault; all others are far smaller.
MESSAGE_BYTES_MAX = 64 * 1024

NONCE_BYTES = 32
NUMBERS = 1_000_000
_U32_MAX = (1 << 32) - 1

_COMMITMENT = b"sunaiva/commitment/1"
_TRANSCRIPT = b"sunaiva/pairing/1"
_NAME = b"sunaiva/newcomer/1"
_WELCOME = b"sunaiva/welcome/1"
_ENCODE = msgspec.msgpack.encode


class DifferentNumberError(ForbiddenError):
    """The people said that the numbers differ, or did not say that they agree: somebody stands between."""

    code = "different_number"


class WrongCodeError(ForbiddenError):
    """The other side does not know the one-time code, or not this one."""

    code = "wrong_code"


class NewerPairingError(CorruptError):
    """The other side speaks a later version."""

    code = "newer"


class Offered(Struct, frozen=True, kw_only=True):
    """The newcomer, waiting to be answered."""

    seeds: Seeds
    secret: bytes
    is_headless: bool
    incarnation: int
    nonce: bytes
    commitment: bytes
    message: bytes


class Challenged(Struct, frozen=True, kw_only=True):
    """The member, waiting for the newcomer to show itself."""

    seeds: Seeds
    secret: bytes
    is_headless: bool
    vault: bytes
    offer: bytes
    message: bytes


class Revealed(Struct, frozen=True, kw_only=True):
    """The newcomer, who has shown itself. `number` is for people to compare."""

    seeds: Seeds
    vault: bytes
    member_sign_public: bytes
    transcript: bytes
    secret: bytes
    is_headless: bool
    number: str
    message: bytes


class Met(Struct, frozen=True, kw_only=True):
    """The member, who knows whom it would admit. `number` is for people to compare."""

    seeds: Seeds
    vault: bytes
    newcomer: Newcomer
    name: str
    transcript: bytes
    secret: bytes
    is_headless: bool
    number: str


class Welcome(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a newcomer is told once it is trusted: enough to recognise a server that shows it less, or something else."""

    vault: bytes
    control_seq: int
    control_hash: bytes
    """The entry that admitted it: the device list has to pass through here."""
    epoch: int
    epoch_key: bytes
    heads: tuple[Head, ...]
    digest: bytes | None
    """Of the member's state at these heads."""


# --- the newcomer --------------------------------------------------------------------------------------------


def offer(
    seeds: Seeds, *, secret: bytes, nonce: bytes, is_headless: bool, incarnation: int = 1
) -> Offered:
    """The first message: a promise of keys that are not shown yet. `secret` is new and random, or the code that was typed."""
    assert len(nonce) == NONCE_BYTES
    commitment = _commitment(keys.sign_public(seeds), keys.kem_public(seeds), incarnation, nonce)
    return Offered(
        seeds=seeds,
        secret=secret,
        is_headless=is_headless,
        incarnation=incarnation,
        nonce=nonce,
        commitment=commitment,
        message=_ENCODE((VERSION, OFFER, is_headless, commitment)),
    )


def reveal(offered: Offered, challenge: bytes, *, name: str) -> Revealed:
    """The third message: the newcomer's keys, its agreement to this vault, and its name for that member only.

    Raises:
        MalformedError
        NewerPairingError
    """
    _, vault, sign_public, kem_public = _read(
        challenge, CHALLENGE, tuple[bytes, bytes, bytes, bytes]
    )
    if len(vault) != ID_BYTES or not agreement.is_sign_public(sign_public):
        raise _malformed()
    seeds = offered.seeds
    newcomer = entries.introduce(seeds, vault=vault, incarnation=offered.incarnation)
    try:
        # Its length is nobody's business; spaces, because a member of an earlier version shows what it is told.
        padded = name.encode().ljust(keys.DEVICE_NAME_BYTES_MAX)
        sealed_name = agreement.seal_to(kem_public, padded, bound_to=_NAME + vault)
    except InvalidError:
        raise _malformed() from None
    said = (
        newcomer.sign_public,
        newcomer.kem_public,
        newcomer.incarnation,
        newcomer.proof,
        offered.nonce,
        sealed_name,
    )
    transcript = _transcript(offered.message, challenge, _ENCODE(said))
    code = _code_key(offered.secret, offered.is_headless)
    tag = crypto.mac(crypto.derive(code, "pairing-newcomer"), transcript)
    return Revealed(
        seeds=seeds,
        vault=vault,
        member_sign_public=sign_public,
        transcript=transcript,
        secret=offered.secret,
        is_headless=offered.is_headless,
        number=_number(transcript),
        message=_ENCODE((VERSION, REVEAL, said, tag)),
    )


def join(revealed: Revealed, welcome: bytes, *, is_same_number: bool) -> Welcome:
    """What the newcomer is told. `is_same_number` is what the person said; without people at both ends it is not asked.

    Raises:
        DifferentNumberError
        WrongCodeError: whoever answers does not know the one-time code.
        ForgedError: not by the member that was met, or altered.
        MalformedError
        NewerPairingError
    """
    _demand_same(is_same_number or revealed.is_headless)
    sealed, signature = _read(welcome, WELCOME, tuple[bytes, bytes])
    bound_to = _WELCOME + revealed.transcript
    if not agreement.is_signed(revealed.member_sign_public, bound_to + sealed, signature):
        raise ForgedError(
            "The answer to the pairing is not by the device that was met. Start again."
        )
    key = _welcome_key(revealed.secret, revealed.transcript, is_headless=revealed.is_headless)
    try:
        inner = agreement.open_sealed_to(revealed.seeds.kem, sealed, bound_to=bound_to)
        said = crypto.open_sealed(key, inner, bound_to=bound_to)
    except (ForbiddenError, CorruptError):
        raise _not_let_in(
            "The answer to the pairing does not open.", is_headless=revealed.is_headless
        ) from None
    return _welcome(said, revealed.vault)


# --- the member ----------------------------------------------------------------------------------------------


def challenge(
    seeds: Seeds,
    offer: bytes,
    *,
    vault: bytes,
    nonce: bytes,
    secret: bytes,
    is_headless: bool,
    commitment: bytes | None = None,
) -> Challenged:
    """The second message: who asks, and a number that the newcomer could not know before. `commitment` is the QR text's.

    Raises:
        ForgedError: not the newcomer whose code was read.
        MalformedError
        NewerPairingError
    """
    assert len(nonce) == NONCE_BYTES
    if _read_offer(offer)[0] is not is_headless:
        raise _malformed()
    if commitment is not None and not crypto.equal(commitment, _commitment_in(offer)):
        raise ForgedError(
            "Another device answers than the one whose code was read: somebody stands between. Start again on another network."
        )
    said = (nonce, vault, keys.sign_public(seeds), keys.kem_public(seeds))
    return Challenged(
        seeds=seeds,
        secret=secret,
        is_headless=is_headless,
        vault=vault,
        offer=offer,
        message=_ENCODE((VERSION, CHALLENGE, *said)),
    )


def meet(challenged: Challenged, reveal: bytes) -> Met:
    """Who the newcomer is, if it is who it promised to be.

    Raises:
        ForgedError: other keys than it committed itself to, or keys that it does not hold.
        WrongCodeError: it does not know the one-time code: one try less.
        MalformedError
        NewerPairingError
    """
    raw, tag = _read(reveal, REVEAL, tuple[msgspec.Raw, bytes])
    sign_public, kem_public, incarnation, proof, nonce, sealed_name = _decoded(
        raw, tuple[bytes, bytes, int, bytes, bytes, bytes]
    )
    if not agreement.is_sign_public(sign_public) or not agreement.is_kem_public(kem_public):
        raise _malformed()
    if not 1 <= incarnation <= keys.INCARNATION_MAX:
        raise _malformed()
    promised = _commitment(sign_public, kem_public, incarnation, nonce)
    if not crypto.equal(promised, _commitment_in(challenged.offer)):
        raise ForgedError(
            "The new device shows other keys than it promised: somebody stands between. Start again on another network."
        )
    transcript = _transcript(challenged.offer, challenged.message, bytes(raw))
    code = _code_key(challenged.secret, challenged.is_headless)
    if not crypto.equal(tag, crypto.mac(crypto.derive(code, "pairing-newcomer"), transcript)):
        raise _not_let_in("The new device was told apart.", is_headless=challenged.is_headless)
    newcomer = Newcomer(
        sign_public=sign_public, kem_public=kem_public, incarnation=incarnation, proof=proof
    )
    if not entries.is_proven(newcomer, challenged.vault):
        raise ForgedError("The new device does not hold the keys that it shows. Start again.")
    return Met(
        seeds=challenged.seeds,
        vault=challenged.vault,
        newcomer=newcomer,
        name=_name(challenged, sealed_name),
        transcript=transcript,
        secret=challenged.secret,
        is_headless=challenged.is_headless,
        number=_number(transcript),
    )


def welcome(met: Met, told: Welcome, *, is_same_number: bool) -> bytes:
    """The fourth message, once the newcomer's entry stands in the device list. `is_same_number` is what the person said.

    Raises:
        DifferentNumberError
    """
    _demand_same(is_same_number or met.is_headless)
    assert told.vault == met.vault
    bound_to = _WELCOME + met.transcript
    key = _welcome_key(met.secret, met.transcript, is_headless=met.is_headless)
    inner = crypto.seal(key, _ENCODE(told), bound_to=bound_to)
    sealed = agreement.seal_to(met.newcomer.kem_public, inner, bound_to=bound_to)
    signature = agreement.sign(met.seeds.sign, bound_to + sealed)
    return _ENCODE((VERSION, WELCOME, sealed, signature))


# --- parts ---------------------------------------------------------------------------------------------------


def _commitment(sign_public: bytes, kem_public: bytes, incarnation: int, nonce: bytes) -> bytes:
    said = sign_public + kem_public + incarnation.to_bytes(4, "big") + nonce
    return hashlib.sha256(_COMMITMENT + said).digest()


def _transcript(*messages: bytes) -> bytes:
    told = hashlib.sha256(_TRANSCRIPT)
    for message in messages:
        told.update(len(message).to_bytes(4, "big") + message)
    return told.digest()


def _number(transcript: bytes) -> str:
    # 2⁶⁴ is no multiple of a million: some numbers are likelier than others by 10⁻¹³.
    return f"{int.from_bytes(transcript[:8], 'big') % NUMBERS:06d}"


def _code_key(secret: bytes, is_headless: bool) -> bytes:
    """Only a one-time code is a secret of both sides; an address was on a screen for all to see."""
    return secret if is_headless else bytes(SECRET_BYTES)


def _welcome_key(secret: bytes, transcript: bytes, *, is_headless: bool) -> bytes:
    return crypto.derive(_code_key(secret, is_headless) + transcript, "pairing-welcome")


def _name(challenged: Challenged, sealed: bytes) -> str:
    try:
        opened = agreement.open_sealed_to(
            challenged.seeds.kem, sealed, bound_to=_NAME + challenged.vault
        )
        name = opened.decode().rstrip(" ")
    except (ForbiddenError, UnicodeDecodeError):
        raise _malformed() from None
    if not name or len(opened) > keys.DEVICE_NAME_BYTES_MAX:
        raise _malformed()
    return name


def _read_offer(offer: bytes) -> tuple[bool, bytes]:
    is_headless, commitment = _read(offer, OFFER, tuple[bool, bytes])
    if len(commitment) != HASH_BYTES:
        raise _malformed()
    return is_headless, commitment


def _commitment_in(offer: bytes) -> bytes:
    return _read_offer(offer)[1]


def _welcome(said: bytes, vault: bytes) -> Welcome:
    told: Welcome = _decoded(said, Welcome)
    if (
        told.vault != vault
        or not 1 <= told.control_seq <= _U32_MAX
        or len(told.control_hash) != HASH_BYTES
        or not 1 <= told.epoch <= _U32_MAX
        or len(told.epoch_key) != crypto.KEY_BYTES
        or len(told.heads) > HEADS_MAX
        or not all(map(is_head, told.heads))
        or (told.digest is not None and len(told.digest) != HASH_BYTES)
    ):
        raise _malformed()
    return told


def _read(message: bytes, step: int, shape: Any) -> Any:
    if len(message) > MESSAGE_BYTES_MAX:
        raise _malformed()
    parts = _decoded(message, list[msgspec.Raw])
    if len(parts) < 2:
        raise _malformed()
    version, is_step = (_decoded(part, int) for part in parts[:2])
    if version > VERSION:
        raise NewerPairingError(
            "The other device has a newer Sunaiva. Update Sunaiva here, then pair."
        )
    if (version, is_step) != (VERSION, step):
        raise _malformed()
    return _decoded(_ENCODE(parts[2:]), shape)


def _decoded(raw: bytes | msgspec.Raw, shape: Any) -> Any:
    try:
        return msgspec.msgpack.decode(raw, type=shape)
    except UNREADABLE:
        raise _malformed() from None


def _demand_same(is_same: bool) -> None:
    if not is_same:
        raise DifferentNumberError(
            "The numbers were not the same on both devices, so nothing was shared. Start again, on another network if it "
            "happens twice."
        )


def _not_let_in(what: str, *, is_headless: bool) -> SunaivaError:
    if is_headless:
        return WrongCodeError(
            f"{what} The code on the other side is another one. Compare it, and try again."
        )
    return ForgedError(f"{what} Something was altered on the way. Start again.")


def _malformed() -> MalformedError:
    return MalformedError("The other side of the pairing sent what no Sunaiva sends. Start again.")
