"""Signatures and sealing to somebody's public key, over `cryptography`, as `shared.crypto` is for everything with a shared key.

An Ed25519 key (RFC 8032) is 32 random bytes. A key to seal to is X-Wing's: 32 random bytes that SHAKE-256 expands to an ML-KEM-768
seed and an X25519 key, so that what is sealed today stays closed to a quantum computer of tomorrow, and to a mistake in either half.
Failure raises or says False; nothing here logs, keeps or repeats a private key.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from shared.errors import ForbiddenError, InvalidError

SEED_BYTES = 32
SIGN_PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
KEM_PUBLIC_BYTES = 1184 + 32
# What sealing adds: an encapsulated key of 1088 + 32 bytes and a tag.
SEALED_TO_EXTRA_BYTES = 1088 + 32 + 16

_ML_KEM_SEED_BYTES = 64
_ML_KEM_PUBLIC_BYTES = 1184
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_SIGN_BIT = 1 << 255
_P = 2**255 - 19
# Under a key of small order anybody can sign anything. Their y coordinates, also as encoded beyond the prime.
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _P - 1,
        _P,
        _P + 1,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            "little",
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
            "little",
        ),
    }
)


def sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of `public` signed `message`. A public key comes from `is_sign_public` once, before it is trusted."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_sign_public(public: bytes) -> bool:
    """Whether this can be a public key that only its owner signs under."""
    if len(public) != SIGN_PUBLIC_BYTES:
        return False
    return int.from_bytes(public, "little") & ~_SIGN_BIT not in _SMALL_ORDER


def kem_public_key(seed: bytes) -> bytes:
    """What others seal to: ML-KEM-768's public key ‖ X25519's."""
    private_ml_kem, private_x25519 = _halves(seed)
    return (
        private_ml_kem.public_key().public_bytes_raw()
        + private_x25519.public_key().public_bytes_raw()
    )


def is_kem_public(public: bytes) -> bool:
    """Whether something can be sealed to this; tried, for some keys fail only then."""
    try:
        seal_to(public, b"", bound_to=b"")
    except InvalidError:
        return False
    return True


def seal_to(public: bytes, plaintext: bytes, *, bound_to: bytes) -> bytes:
    """HPKE, base mode (RFC 9180): encapsulated key ‖ ciphertext. It says nothing of who sealed it: that takes a signature.

    Raises:
        InvalidError: nobody can have this public key.
    """
    try:
        return _SUITE.encrypt(plaintext, _kem_public(public), info=bound_to)
    except ValueError:
        raise InvalidError(
            "A device's public key cannot be used. Start the pairing again."
        ) from None


def open_sealed_to(seed: bytes, sealed: bytes, *, bound_to: bytes) -> bytes:
    """The plaintext of `seal_to`.

    Raises:
        ForbiddenError: sealed to another key or for another purpose, or altered; they cannot be told apart.
    """
    private = MLKEM768X25519PrivateKey(*_halves(seed))
    try:
        return _SUITE.decrypt(sealed, private, info=bound_to)
    except (InvalidTag, ValueError):
        raise ForbiddenError(
            "This device's key does not open what was sealed for it: it was sealed for another device, or was altered."
        ) from None


def _halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    assert len(seed) == SEED_BYTES
    # draft-connolly-cfrg-xwing-kem §5.2, expandDecapsulationKey.
    expanded = hashlib.shake_256(seed).digest(_ML_KEM_SEED_BYTES + SEED_BYTES)
    return (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:_ML_KEM_SEED_BYTES]),
        X25519PrivateKey.from_private_bytes(expanded[_ML_KEM_SEED_BYTES:]),
    )


def _kem_public(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != KEM_PUBLIC_BYTES:
        raise ValueError("length")
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:_ML_KEM_PUBLIC_BYTES]),
        X25519PublicKey.from_public_bytes(public[_ML_KEM_PUBLIC_BYTES:]),
    )
