"""The graph on the disk, with the real Chroma: what it finds, what it forgets, what it leaves on the disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mcp_server.index.chroma import Batch, ChromaIndex
from mcp_server.index.codes import pack4, unpack4, unpack4_turned
from mcp_server.index.protect import protect, protection, rotate
from shared.errors import CorruptError

_KEY = b"k" * 32
_DIM = 64


class _Vault:
    """The codes as the encrypted rows hold them."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self.rows: dict[int, NDArray[np.uint8]] = {}
        self.put(np.arange(count), _vectors(seed, count))

    def put(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> Batch:
        codes = pack4(vectors)
        self.rows |= dict(zip(rows.tolist(), codes, strict=True))
        return rows, codes

    def forget(self, *rows: int) -> NDArray[np.int64]:
        for row in rows:
            del self.rows[row]
        return np.array(rows, np.int64)

    def codes_of(self, rows: NDArray[np.int64]) -> Batch:
        known = [row for row in rows.tolist() if row in self.rows]
        return self._batch(known)

    def batches(self, size: int = 700) -> Iterator[Batch]:
        rows = sorted(self.rows)
        for start in range(0, len(rows), size):
            yield self._batch(rows[start : start + size])

    def vector(self, row: int) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = unpack4(self._batch([row])[1])[0]
        return vector

    def _batch(self, rows: list[int]) -> Batch:
        return (
            np.array(rows, np.int64),
            np.array([self.rows[row] for row in rows], np.uint8).reshape(len(rows), _DIM // 2),
        )


def _vectors(seed: int, count: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, _DIM))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit


def _open(folder: Path, vault: _Vault, key: bytes = _KEY) -> ChromaIndex:
    return ChromaIndex(folder / "chroma", key, _DIM, vault.codes_of)


def _rows_in(index: ChromaIndex, query: NDArray[np.float32], k: int = 10) -> list[int]:
    rows: list[int] = index.search(query, k, None)[0].tolist()
    return rows


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def _traces(vault: _Vault, row: int) -> dict[str, bytes | NDArray[np.float32]]:
    """How the vector of a row could look on a disk."""
    vector, mine = vault.vector(row), protection(_KEY, _DIM, 1.0)
    turned = unpack4_turned(vault.rows[row][None, :])[0]
    return {
        "codes": vault.rows[row].tobytes(),
        "raw": vector,
        "turned": turned,
        "rotated": rotate(mine, turned),
        "protected": protect(mine, np.array([row]), turned[None])[0],
    }


def _found(folder: Path, traces: dict[str, bytes | NDArray[np.float32]]) -> set[str]:
    contents = _files(folder).values()
    return {
        name
        for name, trace in traces.items()
        if any(
            trace in content if isinstance(trace, bytes) else _points_along(trace, content)
            for content in contents
        )
    }


def _points_along(vector: NDArray[np.float32], content: bytes) -> bool:
    """Whether floats at any place in these bytes are this vector: normalised, scaled, or rounded otherwise."""
    for offset in range(4):
        count = max(0, len(content) - offset) // 4
        if count < _DIM:
            return False
        with np.errstate(invalid="ignore"):  # nearly all of it never was a number
            floats = np.frombuffer(content, "<f4", count, offset).astype(np.float64)
        floats = np.where(np.abs(floats) < 10, floats, 0)
        dots = np.correlate(floats, vector.astype(np.float64))
        squares = np.concatenate([[0], np.cumsum(floats**2)])
        lengths = np.sqrt(np.maximum(squares[_DIM:] - squares[:-_DIM], 0))
        if (dots > 0.999 * np.maximum(lengths, 0.1) * np.linalg.norm(vector)).any():
            return True
    return False


def test_finds_the_true_nearest_with_their_true_cosines(tmp_path: Path) -> None:
    vault = _Vault(3_000)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    true = np.stack([vault.vector(row) for row in range(3_000)])

    shares = []
    for query in _vectors(2, 30):
        rows, cosines = index.search(query, 10, None)
        assert np.allclose(cosines, true[rows] @ query, atol=1e-5)
        assert (np.diff(cosines) <= 0).all()
        shares.append(len(set(np.argsort(-(true @ query))[:10]) & set(rows.tolist())) / 10)
    assert np.mean(shares) >= 0.98
    index.close()


@pytest.mark.parametrize("allowed_count", [0, 5, 2_400, 2_990])
def test_a_filter_is_kept_to_and_does_not_starve_the_answer(
    tmp_path: Path, allowed_count: int
) -> None:
    vault = _Vault(3_000)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    query = vault.vector(0)
    allowed = np.ones(3_000, np.bool_)
    true = np.stack([vault.vector(row) for row in range(3_000)]) @ query
    allowed[np.argsort(-true)[: 3_000 - allowed_count]] = (
        False  # the nearest are what is not allowed
    )

    rows, _ = index.search(query, 10, allowed)

    assert allowed[rows].all()
    assert len(rows) == min(10, allowed_count)
    index.close()


def test_cosines_are_the_true_ones_and_zero_for_strangers(tmp_path: Path) -> None:
    vault = _Vault(20)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    query = _vectors(5, 1)[0]

    cosines = index.cosines(query, np.array([7, 99, 7, 3]))

    seven, three = (float(vault.vector(row) @ query) for row in (7, 3))
    assert np.allclose(cosines, [seven, 0, seven, three], atol=1e-5)
    index.close()


def test_what_was_added_is_there_after_opening_again(tmp_path: Path) -> None:
    vault = _Vault(50)
    index = _open(tmp_path, vault)
    index.add(*next(vault.batches()))
    index.close()

    again = _open(tmp_path, vault)

    assert len(again) == 50
    assert _rows_in(again, vault.vector(13), 1) == [13]
    again.close()


def test_adding_the_same_again_changes_nothing(tmp_path: Path) -> None:
    vault = _Vault(50)
    index = _open(tmp_path, vault)
    index.add(*next(vault.batches()))
    before = _files(tmp_path)

    index.add(*next(vault.batches(size=20)))

    assert _files(tmp_path) == before
    assert not index.holds_removed()
    index.close()


def test_a_replaced_vector_is_found_by_its_new_meaning_and_counts_as_removed(
    tmp_path: Path,
) -> None:
    vault = _Vault(50)
    index = _open(tmp_path, vault)
    index.add(*next(vault.batches()))
    new = _vectors(9, 1)

    index.add(*vault.put(np.array([13]), new))

    assert _rows_in(index, new[0], 1) == [13]
    assert len(index) == 50
    assert index.holds_removed()
    index.close()


def test_a_row_twice_in_one_call_is_taken_in_once(tmp_path: Path) -> None:
    vault = _Vault(5)
    index = _open(tmp_path, vault)

    index.add(*vault.put(np.array([3, 3]), _vectors(9, 2)))

    assert len(index) == 1
    index.close()


def test_a_forgotten_row_is_not_found_even_before_the_index_was_told(tmp_path: Path) -> None:
    vault = _Vault(50)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    vector = vault.vector(13)

    vault.forget(13)

    assert 13 not in _rows_in(index, vector)
    index.close()


def test_only_protected_vectors_ever_reach_the_disk(tmp_path: Path) -> None:
    vault = _Vault(1_500)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    index.add(*vault.put(np.array([2_000]), _vectors(9, 1)))
    _rows_in(index, vault.vector(0))
    index.close()

    for row in (0, 700, 2_000):
        assert _found(tmp_path, _traces(vault, row)) == {"protected"}


def test_after_a_rebuild_no_file_holds_a_removed_vector(tmp_path: Path) -> None:
    vault = _Vault(1_500)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    traces = {row: _traces(vault, row) for row in (0, 700, 1_499)}
    index.remove(vault.forget(0, 700, 1_499))
    assert index.holds_removed()
    assert any(_found(tmp_path, traces[row]) for row in traces)  # Chroma itself forgets nothing

    index.rebuild(vault.batches())

    assert not index.holds_removed()
    assert len(index) == 1_497
    assert [_found(tmp_path, traces[row]) for row in traces] == [set(), set(), set()]
    index.close()
    assert [_found(tmp_path, traces[row]) for row in traces] == [set(), set(), set()]


def test_an_empty_rebuild_empties_the_disk_at_once(tmp_path: Path) -> None:
    vault = _Vault(300)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())

    index.rebuild(())

    assert len(index) == 0
    assert _rows_in(index, vault.vector(3)) == []
    assert not any(_found(tmp_path, _traces(vault, row)) for row in (0, 3, 299))
    index.close()


def test_what_is_stored_and_forgotten_during_a_rebuild_counts(tmp_path: Path) -> None:
    vault = _Vault(600)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    old = list(vault.batches(size=200))
    gone, new = vault.vector(550), _vectors(9, 1)

    def batches() -> Iterator[Batch]:
        yield old[0]
        index.add(*vault.put(np.array([900]), new))
        index.remove(vault.forget(550))
        assert _rows_in(index, new[0], 1) == [900]
        yield from old[1:]

    index.rebuild(batches())

    assert len(index) == 600
    assert _rows_in(index, new[0], 1) == [900]
    assert 550 not in _rows_in(index, gone)
    index.close()


def test_forgetting_what_a_rebuild_wrote_already_asks_for_another_one(tmp_path: Path) -> None:
    vault = _Vault(600)
    index = _open(tmp_path, vault)
    old = list(vault.batches(size=300))

    def batches() -> Iterator[Batch]:
        yield old[0]
        index.remove(vault.forget(5))
        yield old[1]

    index.rebuild(batches())

    assert index.holds_removed()
    index.close()


def test_a_removal_just_before_a_crash_is_remembered(tmp_path: Path) -> None:
    vault = _Vault(50)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    index.remove(vault.forget(5))
    index.close()

    again = _open(tmp_path, vault)

    assert again.holds_removed()
    again.close()


def test_a_rebuild_that_fails_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    vault = _Vault(300)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    before = sorted(_files(tmp_path))

    def batches() -> Iterator[Batch]:
        yield next(vault.batches(size=100))
        raise CorruptError("the rows cannot be read")

    with pytest.raises(CorruptError, match="the rows cannot be read"):
        index.rebuild(batches())

    assert sorted(_files(tmp_path)) == before
    assert len(index) == 300
    assert _rows_in(index, vault.vector(250), 1) == [250]
    index.close()


def test_a_generation_left_by_a_crash_is_removed_at_the_next_start(tmp_path: Path) -> None:
    vault = _Vault(50)
    index = _open(tmp_path, vault)
    index.add(*next(vault.batches()))
    index.close()
    left = tmp_path / "chroma" / "generation-7"
    left.mkdir()
    (left / "chroma.sqlite3").write_bytes(b"half of it")

    again = _open(tmp_path, vault)

    assert not left.exists()
    assert len(again) == 50
    again.close()


def test_an_index_of_another_key_is_thrown_away(tmp_path: Path) -> None:
    vault = _Vault(50)
    index = _open(tmp_path, vault)
    index.rebuild(vault.batches())
    traces = _traces(vault, 7)
    index.close()

    after_rekey = _open(tmp_path, vault, key=b"n" * 32)

    assert len(after_rekey) == 0
    assert _found(tmp_path, traces) == set()
    after_rekey.close()


def test_a_damaged_index_says_what_to_do(tmp_path: Path) -> None:
    vault = _Vault(50)
    index = _open(tmp_path, vault)
    index.add(*next(vault.batches()))
    index.close()
    (database,) = tmp_path.rglob("chroma.sqlite3")
    database.write_bytes(database.read_bytes()[:10_000])

    with pytest.raises(CorruptError, match="remove the folder"):
        _rows_in(_open(tmp_path, vault), vault.vector(3))


def test_settings_lying_in_the_folder_it_is_started_in_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".env").write_text(
        "IS_PERSISTENT=false\nALLOW_RESET=true\nANONYMIZED_TELEMETRY=true\n"
    )
    monkeypatch.chdir(project)
    vault = _Vault(50)

    index = _open(tmp_path, vault)
    index.add(*next(vault.batches()))

    assert list(tmp_path.rglob("chroma.sqlite3"))
    assert [file.name for file in project.iterdir()] == [".env"]
    index.close()
