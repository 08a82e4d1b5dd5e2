import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mcp_server.index import codes

_VECTORS = arrays(
    np.float32,
    st.tuples(st.integers(0, 8), st.integers(1, 70)),
    elements=st.floats(-1, 1, width=32, allow_subnormal=False),
)


@given(_VECTORS)
def test_a_vector_comes_back_to_within_half_a_step(vectors: NDArray[np.float32]) -> None:
    code, scale = codes.quantise(vectors)

    assert code.dtype == np.int8
    assert scale.dtype == np.float32
    error = np.abs(codes.dequantise(code, scale) - vectors)
    assert (error <= scale[:, None] * 0.501).all()


@given(_VECTORS)
def test_codes_of_what_came_back_are_the_same_codes(vectors: NDArray[np.float32]) -> None:
    code, scale = codes.quantise(vectors)

    assert (codes.quantise(codes.dequantise(code, scale))[0] == code).all()


def test_nothing_but_zeros_comes_back_as_zeros() -> None:
    code, scale = codes.quantise(np.zeros((2, 5), np.float32))

    assert not codes.dequantise(code, scale).any()


def test_the_cosine_of_codes_is_that_of_the_vectors(clustered: NDArray[np.float32]) -> None:
    near = codes.dequantise(*codes.quantise(clustered))

    assert np.abs(near @ clustered[0] - clustered @ clustered[0]).max() < 0.005


@given(_VECTORS)
def test_distance_is_the_number_of_signs_that_differ(vectors: NDArray[np.float32]) -> None:
    if not len(vectors):
        return
    words = codes.sign_words(vectors)

    assert words.shape == (codes.words_of(vectors.shape[1]), len(vectors))
    by_hand = ((vectors > 0) != (vectors[0] > 0)).sum(axis=1)
    assert codes.hamming(words, words[:, :1]).tolist() == by_hand.tolist()
