"""Every key, seal and tag of the product, over `cryptography`; only `shared.agreement` beside it imports that library.

What is kept or sent starts with a version byte, a different one for each format, so that a later format is told from
this one and a stream is never taken for a seal; keys and tags carry their version in the purpose they are derived for.
Failure always raises: `ForbiddenError` for a wrong key, `CorruptError` for bytes that cannot be what was written. This
module must never define a primitive of its own, nor put a key, a passphrase or a plaintext into an error.
"""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidKey, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from shared.errors import CorruptError, ForbiddenError, InvalidError

KEY_BYTES = 32
SALT_BYTES = 16  # RFC 9106 §3.1 recommends this length for a passphrase's salt
TAG_BYTES = 16

# A person types this; a longer one is a file pasted by mistake, and Argon2 would hash all of it first.
PASSPHRASE_BYTES_MAX = 1024

# Large enough that tags cost 0.02 %, small enough that a stream needs no memory worth mentioning.
STREAM_CHUNK_BYTES = 64 * 1024

_SEALED = b"\x01"
_STREAM = b"\x02"
_NONCE_BYTES = 12
_STREAM_SALT_BYTES = 32
_STREAM_PREFIX_BYTES = 7


class Cost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one guess at a passphrase costs an attacker, in Argon2id's terms."""

    memory_kib: int
    iterations: int
    lanes: int


# RFC 9106 §4, second recommended option: about 0.15 s on a laptop. Its first option (2 GiB) locks out small devices.
PASSPHRASE_COST = Cost(memory_kib=64 * 1024, iterations=3, lanes=4)

# A cost is read from a file that somebody else may have written. Below the floor a stolen vault would be cheap to guess;
# above the ceiling (some seconds, half a gigabyte) opening it would hang or exhaust the device.
COST_FLOOR = Cost(memory_kib=64 * 1024, iterations=3, lanes=1)
COST_CEILING = Cost(memory_kib=512 * 1024, iterations=8, lanes=16)

# OWASP's first Argon2id profile for a server, which does this for many people at once (RFC 9106 §4 speaks of one).
LOGIN_COST = Cost(memory_kib=19 * 1024, iterations=2, lanes=1)


def random_key() -> bytes:
    return os.urandom(KEY_BYTES)


def random_salt() -> bytes:
    return os.urandom(SALT_BYTES)


def derive(key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """A key of its own for each purpose: HKDF-SHA256 (RFC 5869), without salt because `key` is random already."""
    return _hkdf(key, salt=None, purpose=purpose, length=length)


def stretch(passphrase: str, *, salt: bytes, cost: Cost) -> bytes:
    """The key of a passphrase: Argon2id (RFC 9106). The same characters typed on another keyboard give the same key.

    Raises:
        InvalidError: the passphrase is empty, overlong, or no text.
        CorruptError: the cost is one that Sunaiva never writes.
    """
    typed = _passphrase_bytes(passphrase)
    for name in Cost.__struct_fields__:
        asked, floor, ceiling = (getattr(each, name) for each in (cost, COST_FLOOR, COST_CEILING))
        if not floor <= asked <= ceiling:
            raise CorruptError(
                f"The cost of the passphrase ({name} = {asked}) lies outside of {floor} to {ceiling}, where Sunaiva keeps "
                "it: the file that says so was altered. Put back a copy from a backup, or use the recovery words."
            )
    argon2id = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    return argon2id.derive(typed)


def login_hash(password: str) -> str:
    """What a server keeps of a password: Argon2id under `LOGIN_COST` with a salt of its own, in the PHC string format."""
    argon2id = Argon2id(
        salt=random_salt(),
        length=KEY_BYTES,
        iterations=LOGIN_COST.iterations,
        lanes=LOGIN_COST.lanes,
        memory_cost=LOGIN_COST.memory_kib,
    )
    return argon2id.derive_phc_encoded(password.encode())


def login_hash_fits(password: str, kept: str) -> bool:
    """Whether this is the password, at whatever cost it was hashed."""
    try:
        Argon2id.verify_phc_encoded(password.encode(), kept)
    except InvalidKey:
        return False
    return True


def login_hash_is_current(kept: str) -> bool:
    """Whether it was made under today's cost; one that was not is made anew when the password is next typed."""
    cost = LOGIN_COST
    return kept.startswith(
        f"$argon2id$v=19$m={cost.memory_kib},t={cost.iterations},p={cost.lanes}$"
    )


def signing_public_key(seed: bytes) -> bytes:
    """The public half of an Ed25519 key (RFC 8032), whose private half is `seed`: a `random_key`."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes. Compare with `equal`."""
    tag = HMAC(key, SHA256())
    tag.update(message)
    return tag.finalize()


def macs(key: bytes, messages: Iterable[bytes]) -> Iterator[bytes]:
    """`mac` of each, in less than half the time."""
    keyed = HMAC(key, SHA256())
    for message in messages:
        tag = keyed.copy()
        tag.update(message)
        yield tag.finalize()


def equal(a: bytes, b: bytes) -> bool:
    """Whether both are the same, in a time that does not tell where they differ."""
    return bytes_eq(a, b)


def seal(key: bytes, plaintext: bytes, *, bound_to: bytes) -> bytes:
    """Encrypt and authenticate: version ‖ nonce ‖ AES-256-GCM. Opens only with the same `bound_to`, which is not kept.

    The nonce is random, so one key is good for 2³² seals (NIST SP 800-38D §8.3, a collision in 2⁻³²); whoever might come
    near derives a key per batch. A large plaintext goes through `seal_stream`.
    """
    nonce = os.urandom(_NONCE_BYTES)
    return _SEALED + nonce + _aes_gcm(key).encrypt(nonce, plaintext, _SEALED + bound_to)


def open_sealed(key: bytes, sealed: bytes, *, bound_to: bytes) -> bytes:
    """The plaintext of `seal`.

    Raises:
        ForbiddenError: another key, another `bound_to`, or altered bytes; they cannot be told apart.
        CorruptError: this is no seal of a version known here.
    """
    if len(sealed) < len(_SEALED) + _NONCE_BYTES + TAG_BYTES:
        raise CorruptError("Something sealed is cut short. Put back a copy from a backup.")
    if not sealed.startswith(_SEALED):
        raise CorruptError(
            f"Something sealed starts with the unknown version {sealed[0]}: it is damaged, or a newer Sunaiva made it. "
            "Update Sunaiva, or put back a copy from a backup."
        )
    nonce = sealed[len(_SEALED) : len(_SEALED) + _NONCE_BYTES]
    try:
        return _aes_gcm(key).decrypt(
            nonce, sealed[len(_SEALED) + _NONCE_BYTES :], _SEALED + bound_to
        )
    except InvalidTag:
        raise ForbiddenError(
            "The key does not open this: it is another key, or what it sealed was altered."
        ) from None


def derive_once(key: bytes, *, salt: bytes, context: bytes, length: int) -> bytes:
    """Keys for one single use, told apart by a random salt and by `context`: HKDF-SHA256 with exactly these."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=context).derive(key)


def seal_once(key: bytes, nonce: bytes, plaintext: bytes, *, bound_to: bytes) -> bytes:
    """AES-256-GCM alone, for a key and nonce from `derive_once` that seal nothing else, ever."""
    return _aes_gcm(key).encrypt(nonce, plaintext, bound_to)


def open_once(key: bytes, nonce: bytes, sealed: bytes, *, bound_to: bytes) -> bytes:
    """The plaintext of `seal_once`.

    Raises:
        ForbiddenError: another key, another `bound_to`, or altered bytes; they cannot be told apart.
    """
    try:
        return _aes_gcm(key).decrypt(nonce, sealed, bound_to)
    except InvalidTag:
        raise ForbiddenError(
            "The key does not open this: it is another key, or what it sealed was altered."
        ) from None


def seal_stream(key: bytes, source: BinaryIO, target: BinaryIO) -> None:
    """Encrypt a file of any size in bounded memory: version ‖ salt ‖ chunks, each of AES-256-GCM with its tag.

    The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): every nonce is prefix ‖ counter ‖ last-flag, so
    chunks cannot be dropped, reordered or cut off unnoticed. Key and prefix are derived from a fresh salt per file, so
    one key is good for any number of files.
    """
    salt = os.urandom(_STREAM_SALT_BYTES)
    cipher, prefix = _stream_cipher(key, salt)
    target.write(_STREAM + salt)
    target.writelines(
        cipher.encrypt(_stream_nonce(prefix, index, is_last), chunk, None)
        for index, chunk, is_last in _chunks(source, STREAM_CHUNK_BYTES)
    )


def open_stream(key: bytes, source: BinaryIO, target: BinaryIO) -> None:
    """Write the plaintext of `seal_stream` to `target`.

    Every chunk written is authentic, but only a return says that they are all there: write to a temporary file and
    throw it away when this raises.

    Raises:
        ForbiddenError: another key, or the very first chunk was altered.
        CorruptError: cut off, reordered, altered further on, extended, or no stream of a version known here.
    """
    header = _read_fully(source, len(_STREAM) + _STREAM_SALT_BYTES)
    if len(header) < len(_STREAM) + _STREAM_SALT_BYTES or not header.startswith(_STREAM):
        raise CorruptError(
            "This is not a file that Sunaiva encrypted, or a newer Sunaiva made it, or its beginning is damaged. "
            "Update Sunaiva, or take another copy."
        )
    cipher, prefix = _stream_cipher(key, header[len(_STREAM) :])
    for index, chunk, is_last in _chunks(source, STREAM_CHUNK_BYTES + TAG_BYTES):
        try:
            target.write(cipher.decrypt(_stream_nonce(prefix, index, is_last), chunk, None))
        except InvalidTag:
            raise _stream_failure(cipher, prefix, index, chunk, is_last=is_last) from None


def decrypt_cbc_page(key: bytes, *, iv: bytes, page: bytes) -> bytes:
    """A page of a SQLCipher file in the clear, unauthenticated: for looking at what is left on it, never for trusting it."""
    decryptor = Cipher(AES256(key), CBC(iv)).decryptor()
    return decryptor.update(page) + decryptor.finalize()


def _hkdf(key: bytes, *, salt: bytes | None, purpose: str, length: int) -> bytes:
    info = b"sunaiva/v1/" + purpose.encode()
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def _passphrase_bytes(passphrase: str) -> bytes:
    try:
        typed = unicodedata.normalize("NFKC", passphrase).encode()
    except UnicodeEncodeError:
        raise InvalidError(
            "The passphrase holds bytes that are no text. Type it in UTF-8."
        ) from None
    if not typed:
        raise InvalidError("The passphrase is empty. Give one with at least one character.")
    if len(typed) > PASSPHRASE_BYTES_MAX:
        raise InvalidError(
            f"The passphrase is longer than {PASSPHRASE_BYTES_MAX} bytes. Give a shorter one."
        )
    return typed


def _aes_gcm(key: bytes) -> AESGCM:
    assert len(key) == KEY_BYTES, "AESGCM would silently take a shorter key for AES-128"
    return AESGCM(key)


def _stream_cipher(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    assert len(key) == KEY_BYTES
    derived = _hkdf(key, salt=salt, purpose="stream", length=KEY_BYTES + _STREAM_PREFIX_BYTES)
    return AESGCM(derived[:KEY_BYTES]), derived[KEY_BYTES:]


def _stream_nonce(prefix: bytes, index: int, is_last: bool) -> bytes:
    # Four bytes of counter end at 256 TiB; `to_bytes` raises there rather than repeat a nonce.
    return prefix + index.to_bytes(4, "big") + bytes([is_last])


def _chunks(source: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Each chunk with its index and whether it is the last. An empty source is one empty chunk."""
    index = 0
    chunk = _read_fully(source, size)
    while following := _read_fully(source, size):
        yield index, chunk, False
        index += 1
        chunk = following
    yield index, chunk, True


def _read_fully(source: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes, fewer only at the end: a pipe hands out less than asked for, and chunks must not shrink."""
    parts = bytearray()
    while len(parts) < size and (part := source.read(size - len(parts))):
        parts += part
    return bytes(parts)


def _stream_failure(
    cipher: AESGCM, prefix: bytes, index: int, chunk: bytes, *, is_last: bool
) -> ForbiddenError | CorruptError:
    try:
        cipher.decrypt(_stream_nonce(prefix, index, not is_last), chunk, None)
    except InvalidTag:
        if index == 0:
            return ForbiddenError(
                "The key does not open this file: it is another key, or the file was altered."
            )
        return CorruptError("The encrypted file was altered or cut off. Take another copy of it.")
    if is_last:
        return CorruptError("The encrypted file is cut off. Take another copy of it.")
    return CorruptError("Something was appended to the encrypted file. Take another copy of it.")
