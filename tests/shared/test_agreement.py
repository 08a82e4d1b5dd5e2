import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shared import agreement, crypto
from shared.errors import ForbiddenError, InvalidError

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))
PUBLIC = agreement.kem_public_key(SEED)


def hpke_by_the_book(seed: bytes, sealed: bytes, info: bytes) -> bytes:
    """X-Wing's decapsulation and the key schedule of RFC 9180 §5.1 again, from nothing but their parts."""
    expanded = hashlib.shake_256(seed).digest(96)
    ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
    encapsulated = sealed[1088:1120]
    shared = hashlib.sha3_256(
        ml_kem.decapsulate(sealed[:1088])
        + x25519.exchange(X25519PublicKey.from_public_bytes(encapsulated))
        + encapsulated
        + x25519.public_key().public_bytes_raw()
        + rb"\.//^\ "[:-1]
    ).digest()
    suite = b"HPKE" + bytes.fromhex("647a00010002")

    def extract(salt: bytes, label: bytes, key: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + key, "sha256")

    def expand(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
        said = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(key, said + b"\1", "sha256")[:length]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    key, nonce = (
        expand(secret, b"key", context, 32),
        expand(secret, b"base_nonce", context, 12),
    )
    return AESGCM(key).decrypt(nonce, sealed[1120:], b"")


@given(plaintext=st.binary(max_size=500), info=st.binary(max_size=50))
def test_what_was_sealed_to_a_key_opens_with_it(plaintext: bytes, info: bytes) -> None:
    sealed = agreement.seal_to(PUBLIC, plaintext, bound_to=info)
    assert len(sealed) == len(plaintext) + agreement.SEALED_TO_EXTRA_BYTES
    assert agreement.open_sealed_to(SEED, sealed, bound_to=info) == plaintext
    assert hpke_by_the_book(SEED, sealed, info) == plaintext


def test_a_public_key_is_both_halves() -> None:
    assert len(PUBLIC) == agreement.KEM_PUBLIC_BYTES
    assert agreement.is_kem_public(PUBLIC)
    assert agreement.kem_public_key(OTHER) != PUBLIC


@given(position=st.integers(0), flip=st.integers(1, 255))
def test_what_was_altered_on_the_way_does_not_open(position: int, flip: int) -> None:
    sealed = bytearray(agreement.seal_to(PUBLIC, b"a key", bound_to=b"here"))
    sealed[position % len(sealed)] ^= flip
    with pytest.raises(ForbiddenError):
        agreement.open_sealed_to(SEED, bytes(sealed), bound_to=b"here")


def test_another_key_another_purpose_or_a_cut_one_does_not_open() -> None:
    sealed = agreement.seal_to(PUBLIC, b"a key", bound_to=b"here")
    for seed, bytes_, info in (
        (OTHER, sealed, b"here"),
        (SEED, sealed, b"there"),
        (SEED, sealed[:-1], b"here"),
        (SEED, sealed[:700], b"here"),
        (SEED, b"", b"here"),
    ):
        with pytest.raises(ForbiddenError):
            agreement.open_sealed_to(seed, bytes_, bound_to=info)


@pytest.mark.parametrize(
    "public",
    [b"", PUBLIC[:-1], PUBLIC + b"\0", b"\xff" * 1216, PUBLIC[:1184] + bytes(32)],
    ids=["none", "cut", "extended", "no ML-KEM key", "X25519 of order one"],
)
def test_nothing_is_sealed_to_what_is_no_key(public: bytes) -> None:
    with pytest.raises(InvalidError):
        agreement.seal_to(public, b"a key", bound_to=b"here")


@given(message=st.binary(max_size=200), flip=st.integers(0))
def test_a_signature_fits_its_message_and_its_key_only(message: bytes, flip: int) -> None:
    public, other = crypto.signing_public_key(SEED), crypto.signing_public_key(OTHER)
    signature = agreement.sign(SEED, message)
    assert agreement.is_signed(public, message, signature)
    assert not agreement.is_signed(other, message, signature)
    assert not agreement.is_signed(public, message + b"\0", signature)
    altered = bytearray(signature)
    altered[flip % 64] ^= 1 << flip % 8
    assert not agreement.is_signed(public, message, bytes(altered))
    assert not agreement.is_signed(public, message, signature[:-1])


def test_ed25519_gives_what_rfc_8032_prints() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    expected = (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    assert agreement.sign(seed, b"").hex() == expected


def test_a_key_under_which_anybody_can_sign_is_none() -> None:
    assert any(agreement.is_signed(bytes(32), bytes([n]), bytes(64)) for n in range(64)), "so no"
    weak = [0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18]
    for y in weak:
        for encoded in (y, y | 1 << 255):
            assert not agreement.is_sign_public(encoded.to_bytes(32, "little"))
    assert not agreement.is_sign_public(b"short")
    assert agreement.is_sign_public(crypto.signing_public_key(SEED))
