"""Exact search, against a dictionary that does it the slow way."""

import gc
import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcp_server.index.codes import pack4, unpack4
from mcp_server.index.vectors import ExactIndex

_DIM = 24
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove"]),
        st.lists(st.integers(0, 40), max_size=8),
        st.integers(0, 2**32 - 1),
    ),
    max_size=12,
)


def _vectors(seed: int, count: int, dim: int = _DIM) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit


def _rows(*rows: int) -> NDArray[np.int64]:
    return np.array(rows, np.int64)


def _filled(vectors: NDArray[np.float32]) -> ExactIndex:
    index = ExactIndex(vectors.shape[1])
    index.add(np.arange(len(vectors)), pack4(vectors))
    return index


@given(_STEPS, st.integers(1, 50), st.none() | st.lists(st.booleans(), max_size=50))
def test_search_is_what_comparing_with_each_one_gives(
    steps: list[tuple[str, list[int], int]], k: int, allowed: list[bool] | None
) -> None:
    index, model = ExactIndex(_DIM), dict[int, NDArray[np.float32]]()
    for name, rows, seed in steps:
        if name == "add":
            code = pack4(_vectors(seed, len(rows)))
            index.add(np.array(rows, np.int64), code)
            model |= dict(zip(rows, unpack4(code), strict=True))
        else:
            index.remove(np.array(rows, np.int64))
            model = {row: vector for row, vector in model.items() if row not in rows}
    query = _vectors(1, 1)[0]
    expected = {row: float(vector @ query) for row, vector in model.items()}
    if allowed is not None:
        expected = {row: c for row, c in expected.items() if row < len(allowed) and allowed[row]}

    got, cosines = index.search(query, k, None if allowed is None else np.array(allowed, np.bool_))

    assert len(index) == len(model)
    assert len(set(got.tolist())) == len(got) == min(k, len(expected))
    assert np.allclose(cosines, sorted(expected.values(), reverse=True)[:k], atol=1e-5)
    assert np.allclose(cosines, [expected[row] for row in got.tolist()], atol=1e-5)
    asked = np.arange(-2, 60)
    known = {row: float(vector @ query) for row, vector in model.items()}
    assert np.allclose(
        index.cosines(query, asked), [known.get(row, 0) for row in asked.tolist()], atol=1e-5
    )


def test_large_index_finds_nearly_all_of_the_true_nearest(clustered: NDArray[np.float32]) -> None:
    index = _filled(clustered)
    queries = clustered[::40] + 0.03 * _vectors(3, 100, 384)

    found = [set(index.search(query, 10, None)[0].tolist()) for query in queries]

    true = np.argsort(-(queries @ clustered.T), axis=1)[:, :10]
    shares = [len(one & set(best.tolist())) / 10 for one, best in zip(found, true, strict=True)]
    assert np.mean(shares) >= 0.92


def test_a_filter_on_a_large_index_is_kept_to(clustered: NDArray[np.float32]) -> None:
    index = _filled(clustered)
    allowed = np.arange(3_000) % 2 == 0

    rows, cosines = index.search(clustered[1], 10, allowed)

    assert len(rows) == 10
    assert (rows % 2 == 0).all()
    assert (rows < 3_000).all()
    assert (np.diff(cosines) <= 0).all()


def test_thousands_of_copies_of_one_vector_do_not_hide_each_other() -> None:
    index = _filled(np.repeat(_vectors(1, 1), 5_000, axis=0))

    rows, cosines = index.search(_vectors(1, 1)[0], 10, None)

    assert len(set(rows.tolist())) == 10
    assert np.allclose(cosines, 1, atol=0.02)


def test_a_row_told_twice_at_once_is_there_once_and_goes_at_once() -> None:
    index, vectors = ExactIndex(_DIM), _vectors(1, 2)
    index.add(_rows(5, 5), pack4(vectors))

    assert len(index) == 1
    assert index.cosines(vectors[1], _rows(5))[0] > 0.98

    index.remove(_rows(5))
    assert len(index) == 0
    assert len(index.search(vectors[0], 10, None)[0]) == 0


def test_no_memory_holds_a_removed_vector() -> None:
    code = pack4(_vectors(1, 3_000))
    index = ExactIndex(_DIM)
    for start in range(0, 3_000, 250):  # so that it grows, and leaves its former memory behind
        part = slice(start, start + 250)
        index.add(np.arange(3_000)[part], code[part])
    index.remove(_rows(17, 2_999, 1_024))

    gone = [code[row].tobytes() for row in (17, 2_999, 1_024)]
    held = [one for one in gc.get_referents(index.__dict__) if isinstance(one, np.ndarray)]
    assert held
    for array in held:
        assert not any(one in array.tobytes() for one in gone)


def test_readers_see_whole_vectors_while_one_writes() -> None:
    vectors = _vectors(1, 2)
    codes = pack4(vectors)
    whole = unpack4(codes) @ vectors[0]
    index, torn, stop = ExactIndex(_DIM), list[float](), threading.Event()
    index.add(_rows(0), codes[:1])

    def read() -> None:
        while not stop.is_set():
            torn.extend(
                cosine
                for cosine in index.search(vectors[0], 100, None)[1].tolist()
                if np.abs(whole - cosine).min() > 0.001
            )

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for step in range(400):
        which = step % 2
        rows = np.arange(1, 2 + step % 37)
        index.add(rows, np.repeat(codes[which:][:1], len(rows), 0))
        index.remove(rows[::2])
    stop.set()
    for reader in readers:
        reader.join()

    assert torn == []
