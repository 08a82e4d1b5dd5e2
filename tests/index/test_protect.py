import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcp_server.index.protect import protect, protection, rotate

_KEY, _OTHER = b"k" * 32, b"o" * 32
_DIM = 48
_SEEDS = st.integers(0, 2**32 - 1)


def _vectors(seed: int, count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, _DIM))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit


@given(_SEEDS)
def test_rotation_keeps_every_cosine(seed: int) -> None:
    vectors = _vectors(seed, 6)

    turned = rotate(protection(_KEY, _DIM, 1), vectors)

    assert np.allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-5)


def test_same_key_gives_the_same_rotation_and_another_key_another() -> None:
    mine, again, other = (protection(key, _DIM, 1) for key in (_KEY, _KEY, _OTHER))

    assert (mine.rotation == again.rotation).all()
    assert mine.mark == again.mark
    assert mine.mark != other.mark
    assert np.abs(rotate(mine, _vectors(1, 1)) @ rotate(other, _vectors(1, 1)).T).max() < 0.6


def test_the_mark_tells_dimension_and_strength_apart() -> None:
    marks = {protection(_KEY, dim, beta).mark for dim in (8, 16) for beta in (0, 0.5, 1)}

    assert len(marks) == 6


@given(_SEEDS, st.sampled_from([0.5, 1.0, 2.0]))
def test_noise_is_no_longer_than_a_quarter_of_beta(seed: int, beta: float) -> None:
    mine, vectors = protection(_KEY, _DIM, beta), _vectors(seed, 8)

    noise = protect(mine, np.arange(8), vectors) - rotate(mine, vectors)

    lengths = np.linalg.norm(noise, axis=1)
    assert (lengths <= beta / 4 + 1e-5).all()
    assert (lengths > 0).all()


@given(_SEEDS)
def test_noise_hardly_ever_is_much_shorter_than_that(seed: int) -> None:
    mine, vectors = protection(_KEY, _DIM, 1), _vectors(seed, 64)

    noise = protect(mine, np.arange(64), vectors) - rotate(mine, vectors)

    # In a ball of 48 dimensions, nearly all of the room is near the surface.
    assert np.median(np.linalg.norm(noise, axis=1)) > 0.24


@given(_SEEDS)
def test_protecting_again_and_in_other_company_gives_the_same(seed: int) -> None:
    mine, rows, vectors = protection(_KEY, _DIM, 1), np.arange(5, 11), _vectors(seed, 6)

    together = protect(mine, rows, vectors)

    alone = [protect(mine, rows[one : one + 1], vectors[one : one + 1])[0] for one in range(6)]
    assert np.allclose(together, alone, atol=1e-6)


def test_noise_differs_by_row_by_vector_and_by_key() -> None:
    mine, other = protection(_KEY, _DIM, 1), protection(_OTHER, _DIM, 1)
    one, two = _vectors(1, 1), _vectors(2, 1)
    row, next_row = np.array([3]), np.array([4])

    noises = [
        protect(mine, row, one) - rotate(mine, one),
        protect(mine, next_row, one) - rotate(mine, one),
        protect(mine, row, two) - rotate(mine, two),
        protect(other, row, one) - rotate(other, one),
    ]

    for at, noise in enumerate(noises):
        assert all(np.linalg.norm(noise - later) > 0.1 for later in noises[at + 1 :])


def test_without_strength_there_is_only_the_rotation() -> None:
    mine, vectors = protection(_KEY, _DIM, 0), _vectors(1, 4)

    assert (protect(mine, np.arange(4), vectors) == rotate(mine, vectors)).all()


def test_rotation_is_what_it_was_when_indexes_were_written() -> None:
    # Were this to change, every Chroma index on a disk would find nothing. Raise the purpose's name with it.
    rotation = protection(bytes(range(32)), 4, 1).rotation

    assert np.allclose(rotation[0], [-0.557526, -0.551128, -0.615295, 0.082667], atol=1e-5)


def test_printing_a_protection_shows_no_key() -> None:
    assert repr(protection(_KEY, 4, 1)) == "Protection(…)"
