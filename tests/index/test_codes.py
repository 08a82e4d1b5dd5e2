import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mcp_server.index import codes

_CODES = arrays(np.uint8, st.tuples(st.integers(0, 8), st.integers(1, 35)))
_VECTORS = arrays(
    np.float32,
    st.tuples(st.integers(0, 8), st.integers(1, 35).map(lambda half: 2 * half)),
    elements=st.floats(-1, 1, width=32, allow_subnormal=False),
)


@given(_VECTORS)
def test_a_code_has_a_byte_for_two_dimensions_and_stands_for_a_vector_of_length_1(
    vectors: NDArray[np.float32],
) -> None:
    packed = codes.pack4(vectors)

    assert packed.shape == (len(vectors), vectors.shape[1] // 2)
    assert packed.dtype == np.uint8
    assert np.allclose(np.linalg.norm(codes.unpack4(packed), axis=1), 1, atol=1e-5)


@given(_VECTORS)
def test_a_vector_has_the_same_code_in_any_company(vectors: NDArray[np.float32]) -> None:
    packed = codes.pack4(vectors)

    alone = [codes.pack4(vector[None, :])[0] for vector in vectors]
    for one, other in zip(packed, alone, strict=True):
        # A number on the edge between two steps may fall to either side: sums of another order differ in the last bits.
        steps = [np.concatenate([code & 15, code >> 4]).astype(int) for code in (one, other)]
        assert np.abs(steps[0] - steps[1]).max() <= 1


@given(_CODES)
def test_a_cosine_is_that_of_the_vector_that_the_code_stands_for(
    packed: NDArray[np.uint8],
) -> None:
    question = np.linspace(-1, 2, 2 * packed.shape[1], dtype=np.float32)
    question /= np.linalg.norm(question)

    found = codes.cosines(packed, codes.scales_of(packed), codes.turn(question))

    assert np.allclose(found, codes.unpack4(packed) @ question, atol=1e-4)


def test_a_vector_is_near_to_its_code_even_if_only_few_of_its_numbers_are_not_zero(
    clustered: NDArray[np.float32],
) -> None:
    sparse = np.zeros((384, 384), np.float32)
    sparse[np.arange(384), np.arange(384)] = 0.8
    sparse[np.arange(384), np.arange(384) - 100] = -0.6
    for vectors in (clustered, sparse):
        near = codes.unpack4(codes.pack4(vectors))
        assert (near * vectors).sum(axis=1).min() > 0.98
        assert np.abs(near @ vectors[0] - vectors @ vectors[0]).max() < 0.03


def test_the_code_of_a_vector_never_changes() -> None:
    vector = (np.arange(16, dtype=np.float32) - 5)[None, :]

    assert codes.pack4(vector / np.linalg.norm(vector)).tobytes().hex() == "498599583adbe679"


@given(_CODES)
def test_distance_is_the_number_of_signs_that_differ(packed: NDArray[np.uint8]) -> None:
    if not len(packed):
        return
    words = codes.sign_words(packed)

    assert words.shape == (codes.words_of(2 * packed.shape[1]), len(packed))
    positive = np.concatenate([packed & 15, packed >> 4], axis=1) >= 8
    by_hand = (positive != positive[0]).sum(axis=1)
    assert codes.hamming(words, words[:, :1]).tolist() == by_hand.tolist()


def test_distances_are_right_in_every_block_of_a_long_scan() -> None:
    packed = np.random.default_rng(1).integers(0, 256, (40_000, 12), np.uint8)
    words = codes.sign_words(packed)

    by_hand = np.bitwise_count(words ^ words[:, 7:8]).sum(axis=0)
    assert (codes.hamming(words, words[:, 7:8]) == by_hand).all()
