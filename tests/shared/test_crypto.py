import hashlib
import hmac
import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import example, given
from hypothesis import strategies as st

from shared import crypto
from shared.errors import CorruptError, ForbiddenError, InvalidError

VECTORS = Path(__file__).parent / "vectors"
KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
CHUNK = crypto.STREAM_CHUNK_BYTES
SEALED_CHUNK = CHUNK + crypto.TAG_BYTES
HEADER = 33


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def hkdf_by_the_book(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 §2 again, from nothing but HMAC, to hold our keys against."""
    pseudorandom = hmac.digest(salt or bytes(32), ikm, "sha256")
    okm, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(pseudorandom, block + info + bytes([counter]), "sha256")
        okm += block
    return okm[:length]


def sealed_stream(plaintext: bytes, key: bytes = KEY) -> bytes:
    target = io.BytesIO()
    crypto.seal_stream(key, io.BytesIO(plaintext), target)
    return target.getvalue()


def opened_stream(stream: bytes, key: bytes = KEY) -> bytes:
    target = io.BytesIO()
    crypto.open_stream(key, io.BytesIO(stream), target)
    return target.getvalue()


@pytest.mark.parametrize("case", vectors("rfc5869.json")["cases"])
def test_the_books_hkdf_gives_what_rfc_5869_prints(case: dict[str, str]) -> None:
    okm = bytes.fromhex(case["okm"])
    ikm, salt, info = (bytes.fromhex(case[name]) for name in ("ikm", "salt", "info"))
    assert hkdf_by_the_book(ikm, salt, info, len(okm)) == okm


@given(
    key=st.binary(min_size=16, max_size=64),
    purpose=st.text(st.characters(codec="ascii"), max_size=30),
    length=st.integers(1, 200),
)
def test_a_derived_key_is_hkdf_sha256_bound_to_its_purpose(
    key: bytes, purpose: str, length: int
) -> None:
    info = f"sunaiva/v1/{purpose}".encode()
    assert crypto.derive(key, purpose, length) == hkdf_by_the_book(key, b"", info, length)


def test_every_purpose_has_a_key_of_its_own() -> None:
    purposes = ["database", "audit", "vectors", "confirm", "digest", "", "database2"]
    assert len({crypto.derive(KEY, purpose) for purpose in purposes}) == len(purposes)


def test_random_keys_have_256_bits_and_differ() -> None:
    keys = {crypto.random_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {32}
    assert len(crypto.random_salt()) == crypto.SALT_BYTES


def test_keys_of_today_are_the_keys_of_the_golden_file() -> None:
    golden = vectors("keys.json")
    key = bytes.fromhex(golden["key"])
    assert crypto.derive(key, "database").hex() == golden["derived"]["database"]
    assert crypto.derive(key, "vectors", 40).hex() == golden["derived"]["vectors"]
    stretched = crypto.stretch(
        golden["passphrase"], salt=bytes.fromhex(golden["salt"]), cost=crypto.PASSPHRASE_COST
    )
    assert stretched.hex() == golden["stretched"]


def test_argon2id_gives_what_rfc_9106_prints() -> None:
    argon2id = Argon2id(
        salt=b"\x02" * 16,
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        ad=b"\x04" * 12,
        secret=b"\x03" * 8,
    )
    expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    assert argon2id.derive(b"\x01" * 32).hex() == expected


def test_a_passphrase_typed_in_another_unicode_form_gives_the_same_key() -> None:
    salt = bytes(16)
    keys = {
        crypto.stretch(typed, salt=salt, cost=crypto.PASSPHRASE_COST)
        for typed in ("\u00c4pfel \u2163", "A\u0308pfel IV", "\uff21\u0308pfel IV")
    }
    assert len(keys) == 1


def test_salt_cost_and_passphrase_all_change_the_key() -> None:
    cost = crypto.PASSPHRASE_COST
    dearer = crypto.Cost(memory_kib=cost.memory_kib, iterations=cost.iterations + 1, lanes=1)
    keys = {
        crypto.stretch("correct horse", salt=bytes(16), cost=cost),
        crypto.stretch("correct horse", salt=b"\x01" * 16, cost=cost),
        crypto.stretch("correct horses", salt=bytes(16), cost=cost),
        crypto.stretch("correct horse", salt=bytes(16), cost=dearer),
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("memory_kib", "iterations", "lanes"),
    [
        (64 * 1024 - 1, 3, 4),
        (64 * 1024, 2, 4),
        (64 * 1024, 3, 0),
        (512 * 1024 + 1, 3, 4),
        (64 * 1024, 9, 4),
        (64 * 1024, 3, 17),
        (2**40, 2**40, 1),
        (-1, 3, 4),
    ],
)
def test_a_cost_below_the_floor_or_above_the_ceiling_is_refused_at_once(
    memory_kib: int, iterations: int, lanes: int
) -> None:
    cost = crypto.Cost(memory_kib=memory_kib, iterations=iterations, lanes=lanes)
    with pytest.raises(CorruptError, match="altered"):
        crypto.stretch("correct horse", salt=bytes(16), cost=cost)


@pytest.mark.parametrize(
    ("passphrase", "says"),
    [
        ("", "empty"),
        ("x" * 1025, "longer than 1024"),
        ("\ufdfa" * 500, "longer"),
        ("caf\udce9", "UTF-8"),
    ],
    ids=["empty", "a pasted file", "one that normalisation makes long", "undecodable bytes"],
)
def test_a_passphrase_that_cannot_be_used_is_refused_and_not_repeated(
    passphrase: str, says: str
) -> None:
    with pytest.raises(InvalidError, match=says) as refused:
        crypto.stretch(passphrase, salt=bytes(16), cost=crypto.PASSPHRASE_COST)
    assert not passphrase or passphrase not in str(refused.value)


@pytest.mark.parametrize("case", vectors("rfc4231.json")["cases"])
def test_a_tag_is_what_rfc_4231_prints(case: dict[str, str]) -> None:
    tag = crypto.mac(bytes.fromhex(case["key"]), bytes.fromhex(case["message"]))
    assert tag.hex() == case["tag"]


def test_many_codes_are_those_of_one_by_one() -> None:
    said = [b"", b"tea", b"x" * 1_000]
    assert list(crypto.macs(KEY, said)) == [crypto.mac(KEY, each) for each in said]


@given(a=st.binary(max_size=40), b=st.binary(max_size=40))
def test_equal_says_what_equality_says(a: bytes, b: bytes) -> None:
    assert crypto.equal(a, b) == (a == b)
    assert crypto.equal(a, bytes(a))


@given(plaintext=st.binary(max_size=2000), bound_to=st.binary(max_size=50))
def test_what_was_sealed_opens(plaintext: bytes, bound_to: bytes) -> None:
    sealed = crypto.seal(KEY, plaintext, bound_to=bound_to)
    assert crypto.open_sealed(KEY, sealed, bound_to=bound_to) == plaintext
    assert len(sealed) == len(plaintext) + 29


@given(
    plaintext=st.binary(max_size=100),
    position=st.integers(min_value=1),
    flip=st.integers(min_value=1, max_value=255),
)
def test_no_altered_byte_of_a_seal_goes_unnoticed(
    plaintext: bytes, position: int, flip: int
) -> None:
    sealed = bytearray(crypto.seal(KEY, plaintext, bound_to=b"here"))
    sealed[1 + position % (len(sealed) - 1)] ^= flip
    with pytest.raises(ForbiddenError):
        crypto.open_sealed(KEY, bytes(sealed), bound_to=b"here")


@given(bound_to=st.binary(max_size=20), elsewhere=st.binary(max_size=20))
@example(bound_to=b"", elsewhere=b"\x01")
def test_a_seal_opens_nowhere_but_where_it_was_bound_to(bound_to: bytes, elsewhere: bytes) -> None:
    sealed = crypto.seal(KEY, b"secret", bound_to=bound_to)
    if bound_to != elsewhere:
        with pytest.raises(ForbiddenError):
            crypto.open_sealed(KEY, sealed, bound_to=elsewhere)


def test_another_key_does_not_open_a_seal() -> None:
    sealed = crypto.seal(KEY, b"secret", bound_to=b"")
    with pytest.raises(ForbiddenError, match="does not open"):
        crypto.open_sealed(OTHER_KEY, sealed, bound_to=b"")


def test_sealing_twice_never_gives_the_same_bytes() -> None:
    assert len({crypto.seal(KEY, b"same", bound_to=b"") for _ in range(200)}) == 200


@given(cut=st.integers(min_value=0, max_value=28))
def test_a_seal_cut_short_is_corrupt(cut: int) -> None:
    with pytest.raises(CorruptError, match="cut short"):
        crypto.open_sealed(KEY, crypto.seal(KEY, b"", bound_to=b"")[:cut], bound_to=b"")


@pytest.mark.parametrize("version", [0, 2, 3, 255])
def test_a_seal_of_an_unknown_version_is_corrupt_not_forbidden(version: int) -> None:
    sealed = crypto.seal(KEY, b"secret", bound_to=b"")
    with pytest.raises(CorruptError, match=f"unknown version {version}"):
        crypto.open_sealed(KEY, bytes([version]) + sealed[1:], bound_to=b"")


def test_a_short_key_is_a_programming_error_rather_than_weaker_encryption() -> None:
    with pytest.raises(AssertionError):
        crypto.seal(KEY[:16], b"secret", bound_to=b"")
    with pytest.raises(AssertionError):
        crypto.seal_stream(KEY[:16], io.BytesIO(), io.BytesIO())


def test_the_golden_seal_still_opens() -> None:
    golden = {name: value for name, value in vectors("sealed.json").items() if name != "format"}
    key, bound_to, plaintext, sealed = (bytes.fromhex(value) for value in golden.values())
    assert crypto.open_sealed(key, sealed, bound_to=bound_to) == plaintext


@pytest.mark.parametrize(
    "size",
    [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7],
    ids=lambda size: f"{size} bytes",
)
def test_a_stream_of_any_length_opens(size: int) -> None:
    plaintext = bytes(i * 31 % 251 for i in range(size))
    stream = sealed_stream(plaintext)
    assert opened_stream(stream) == plaintext
    assert len(stream) == HEADER + size + crypto.TAG_BYTES * max(1, -(-size // CHUNK))


@given(plaintext=st.binary(max_size=300), step=st.integers(min_value=1, max_value=50))
def test_a_source_that_hands_out_little_at_a_time_makes_no_difference(
    plaintext: bytes, step: int
) -> None:
    class Pipe(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(step if size is None or size < 0 else min(step, size))

    sealed, opened = io.BytesIO(), io.BytesIO()
    crypto.seal_stream(KEY, Pipe(plaintext), sealed)
    crypto.open_stream(KEY, Pipe(sealed.getvalue()), opened)
    assert opened.getvalue() == plaintext


def test_a_stream_is_the_documented_construction() -> None:
    plaintext = bytes(range(256)) * 600  # two whole chunks and a part of one
    stream = sealed_stream(plaintext)
    derived = hkdf_by_the_book(KEY, stream[1:33], b"sunaiva/v1/stream", 39)
    cipher, prefix = AESGCM(derived[:32]), derived[32:]
    body = stream[HEADER:]
    chunks = [body[start : start + SEALED_CHUNK] for start in range(0, len(body), SEALED_CHUNK)]
    nonces = [prefix + b"\0\0\0\0\0", prefix + b"\0\0\0\1\0", prefix + b"\0\0\0\2\1"]
    by_the_book = [
        cipher.decrypt(nonce, chunk, None) for nonce, chunk in zip(nonces, chunks, strict=True)
    ]
    assert b"".join(by_the_book) == plaintext
    assert stream[:1] == b"\x02"


def test_the_golden_stream_still_opens() -> None:
    golden = vectors("stream.json")
    opened = opened_stream(bytes.fromhex(golden["stream"]), bytes.fromhex(golden["key"]))
    assert opened.hex() == golden["plaintext"]


THREE_CHUNKS = sealed_stream(b"a" * CHUNK + b"b" * CHUNK + b"c" * CHUNK)
ONE_CHUNK = sealed_stream(b"short")


def chunk_of(stream: bytes, index: int) -> bytes:
    return stream[HEADER + index * SEALED_CHUNK : HEADER + (index + 1) * SEALED_CHUNK]


@pytest.mark.parametrize(
    ("tampered", "says"),
    [
        (THREE_CHUNKS[: HEADER + 2 * SEALED_CHUNK], "cut off"),
        (THREE_CHUNKS[: HEADER + SEALED_CHUNK], "cut off"),
        (THREE_CHUNKS[:-1], "altered or cut off"),
        (THREE_CHUNKS + b"more", "appended"),
        (THREE_CHUNKS + chunk_of(THREE_CHUNKS, 2), "appended"),
        (THREE_CHUNKS[:HEADER] + b"".join(chunk_of(THREE_CHUNKS, i) for i in (0, 2, 1)), "altered"),
        (
            THREE_CHUNKS[:HEADER] + b"".join(chunk_of(THREE_CHUNKS, i) for i in (0, 0, 1, 2)),
            "altered",
        ),
        (THREE_CHUNKS[:HEADER] + b"".join(chunk_of(THREE_CHUNKS, i) for i in (0, 2)), "altered"),
        (THREE_CHUNKS[:-1] + bytes([THREE_CHUNKS[-1] ^ 1]), "altered"),
        (b"", "not a file that Sunaiva encrypted"),
        (ONE_CHUNK[:20], "not a file"),
        (b"\x01" + ONE_CHUNK[1:], "not a file"),
        (b"PK\x03\x04" + bytes(100), "not a file"),
    ],
    ids=[
        "last chunk gone",
        "two chunks gone",
        "last byte gone",
        "bytes appended",
        "chunk repeated at the end",
        "chunks swapped",
        "chunk repeated",
        "chunk dropped",
        "last byte changed",
        "empty",
        "half a header",
        "a seal",
        "a plain zip",
    ],
)
def test_a_stream_that_is_not_whole_and_in_order_is_corrupt(tampered: bytes, says: str) -> None:
    with pytest.raises(CorruptError, match=says):
        opened_stream(tampered)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: opened_stream(ONE_CHUNK, OTHER_KEY),
        lambda: opened_stream(THREE_CHUNKS, OTHER_KEY),
        lambda: opened_stream(ONE_CHUNK[:5] + bytes([ONE_CHUNK[5] ^ 1]) + ONE_CHUNK[6:]),
        lambda: opened_stream(ONE_CHUNK[:HEADER]),
        lambda: opened_stream(ONE_CHUNK[:HEADER] + chunk_of(sealed_stream(b"short"), 0)),
    ],
    ids=[
        "another key",
        "another key, long",
        "salt changed",
        "nothing but a header",
        "chunk of another file",
    ],
)
def test_a_stream_whose_first_chunk_does_not_open_is_forbidden(
    attempt: Callable[[], bytes],
) -> None:
    with pytest.raises(ForbiddenError, match="does not open this file"):
        attempt()


def test_what_a_failed_stream_has_written_is_a_prefix_of_the_truth() -> None:
    target = io.BytesIO()
    with pytest.raises(CorruptError):
        crypto.open_stream(KEY, io.BytesIO(THREE_CHUNKS[:-1]), target)
    assert target.getvalue() == b"a" * CHUNK + b"b" * CHUNK


def test_a_large_file_needs_little_memory() -> None:
    class Zeros(io.RawIOBase):
        left = 32 * 1024 * 1024

        def read(self, size: int = -1, /) -> bytes:
            given = min(size, self.left)
            self.left -= given
            return bytes(given)

    class Digest(io.RawIOBase):
        sha256 = hashlib.sha256()

        def write(self, part: Any, /) -> int:
            self.sha256.update(part)
            return len(part)

    tracemalloc.start()
    try:
        crypto.seal_stream(KEY, Zeros(), Digest())  # type: ignore[arg-type] # raw files are files too
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1024 * 1024
