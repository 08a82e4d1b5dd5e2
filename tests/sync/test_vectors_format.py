"""Sealed vectors and their lists: what is read is what was written, and whatever is altered is noticed."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from shared.agreement import sign
from shared.errors import CorruptError, ForbiddenError, SunaivaError
from sync_service.changes.ops import MalformedError
from sync_service.sealed import manifests, vectors
from sync_service.sealed.frames import ForgedError, UnreadableError
from sync_service.sealed.keys import sign_public
from sync_service.sealed.pieces import SEGMENT_BYTES_MAX, Segment
from sync_service.sealed.vectors import Kind, Summary, Vector, VectorList
from tests.sync.circle import device_of, seeds_of

ANN, BEN = seeds_of("ann"), seeds_of("ben")
KEY, OTHER_KEY, VAULT = bytes(range(32)), bytes(32), bytes(range(16))
NAME = "ab" * 16
KIND = Kind("a model", vectors.FOUR_BITS, 8)
SOUND = VectorList(
    vault=VAULT,
    device=device_of("ann"),
    segments=(Segment("0" * 32, 100, bytes(32)), Segment("1" * 32, 4, bytes(32))),
    sealed=b"for devices",
)

sixteen = st.binary(min_size=16, max_size=16)
some_vectors = st.lists(
    st.builds(Vector, sixteen, sixteen, st.binary(min_size=8, max_size=8)), min_size=1, max_size=20
)


def _sealed(there: list[Vector], name: str = NAME) -> tuple[bytes, Segment]:
    sealed = vectors.seal_segment(KEY, VAULT, 3, name, KIND, there)
    return sealed, Segment(name, len(sealed), hashlib.sha256(sealed).digest())


@given(some_vectors)
def test_a_piece_holds_what_was_put_in(there: list[Vector]) -> None:
    sealed, segment = _sealed(there)
    assert vectors.open_segment(sealed, VAULT, segment, KIND, {3: KEY}) == there


ONE = [Vector(bytes(16), bytes(16), b"8 bytes.")]


@given(st.data())
def test_an_altered_piece_is_never_taken_for_a_sound_one(data: st.DataObject) -> None:
    sealed, _ = _sealed(ONE)
    at = data.draw(st.integers(0, len(sealed) - 1))
    bit = data.draw(st.integers(0, 7))
    altered = sealed[:at] + bytes([sealed[at] ^ 1 << bit]) + sealed[at + 1 :]
    # Even if the list were to name the altered one.
    segment = Segment(NAME, len(altered), hashlib.sha256(altered).digest())
    with pytest.raises((CorruptError, ForbiddenError)):
        vectors.open_segment(altered, VAULT, segment, KIND, {3: KEY, 0: KEY})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"vault": bytes(16)}, UnreadableError),
        ({"epoch_keys": {3: OTHER_KEY}}, UnreadableError),
        ({"epoch_keys": {4: KEY}}, UnreadableError),
        ({"kind": Kind("another model", vectors.FOUR_BITS, 8)}, MalformedError),
        ({"kind": Kind("a model", 2, 8)}, MalformedError),
        ({"kind": Kind("a model", vectors.FOUR_BITS, 4)}, MalformedError),
        ({"segment": Segment(NAME, 7, bytes(32))}, MalformedError),
    ],
    ids=["vault", "key", "epoch", "model", "form", "size", "hash"],
)
def test_a_piece_opens_only_for_what_it_is(
    change: dict[str, object], error: type[SunaivaError]
) -> None:
    sealed, segment = _sealed(ONE)
    asked = {"vault": VAULT, "segment": segment, "kind": KIND, "epoch_keys": {3: KEY}} | change
    with pytest.raises(error):
        vectors.open_segment(sealed, **asked)  # type: ignore[arg-type] # of a table


def test_a_piece_under_another_name_is_no_piece() -> None:
    sealed, segment = _sealed(ONE)
    with pytest.raises(UnreadableError):
        vectors.open_segment(
            sealed, VAULT, structs.replace(segment, name="cd" * 16), KIND, {3: KEY}
        )


def test_a_full_piece_fits_into_a_segment_for_every_model() -> None:
    for size in (1, 192, 384, 512, vectors.CODE_BYTES_MAX):
        kind = Kind("m" * vectors.MODEL_CHARS_MAX, vectors.FOUR_BITS, size)
        number = vectors.fitting(kind)
        assert number >= 700
        # Padded by an eighth at the most.
        assert number * (32 + size) * 9 // 8 < SEGMENT_BYTES_MAX


def test_a_list_says_what_was_written() -> None:
    raw = vectors.write(SOUND, ANN.sign)
    assert vectors.is_list(raw)
    assert vectors.read(raw) == SOUND
    vectors.verify(raw, sign_public(ANN))
    with pytest.raises(ForgedError):
        vectors.verify(raw, sign_public(BEN))
    with pytest.raises(ForgedError):
        vectors.verify(raw[:-1] + bytes([raw[-1] ^ 1]), sign_public(ANN))


def test_no_manifest_is_a_list_and_no_list_a_manifest() -> None:
    with pytest.raises(MalformedError):
        manifests.read(vectors.write(SOUND, ANN.sign))
    manifest = manifests.Manifest(
        vault=VAULT, device=SOUND.device, covers=(), segments=SOUND.segments, sealed=b""
    )
    raw = manifests.write(manifest, ANN.sign)
    assert not vectors.is_list(raw)
    with pytest.raises(MalformedError):
        vectors.read(raw)


def test_what_a_later_version_adds_to_a_list_is_passed_over() -> None:
    body = msgspec.msgpack.encode([*structs.astuple(SOUND), {"later": True}])
    raw = body + sign(ANN.sign, b"sunaiva/vector-list/1" + body)
    assert vectors.is_list(raw)
    assert vectors.read(raw) == SOUND
    vectors.verify(raw, sign_public(ANN))


@pytest.mark.parametrize(
    "changed",
    [
        {"vault": b"short"},
        {"device": b""},
        {"segments": ()},
        {"segments": SOUND.segments * 2},
        {"segments": (Segment("0" * 32, 0, bytes(32)),)},
        {"segments": (Segment("../../etc/passwd", 1, bytes(32)),)},
        {"segments": (Segment("0" * 32, SEGMENT_BYTES_MAX + 1, bytes(32)),)},
        {"sealed": bytes(5_000)},
    ],
    ids=str,
)
def test_what_no_implementation_writes_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        vectors.read(vectors.write(structs.replace(SOUND, **changed), ANN.sign))


@pytest.mark.parametrize("raw", [b"", bytes(64), b"\xc1" * 200, bytes(vectors.LIST_BYTES_MAX + 1)])
def test_bytes_that_are_no_list_are_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        vectors.read(raw)


def test_only_devices_read_of_which_model_the_vectors_are() -> None:
    summary = Summary(KIND, 1, bytes(16))
    made = structs.replace(SOUND, sealed=vectors.seal_summary(KEY, VAULT, 3, summary))
    assert vectors.open_summary(made, {3: KEY}) == summary
    assert b"model" not in vectors.write(made, ANN.sign)
    for keys in ({3: OTHER_KEY}, {}):
        with pytest.raises(UnreadableError):
            vectors.open_summary(made, keys)


def test_equal_texts_have_equal_digests_and_others_do_not() -> None:
    assert vectors.digest_of("a text") == vectors.digest_of("a text")
    assert vectors.digest_of("a text") != vectors.digest_of("another text")
