"""Nearest vectors at any size: the scan and the graph agree, and forgetting reaches the disk whatever is open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcp_server.index.chroma import ChromaIndex
from mcp_server.index.codes import pack4
from mcp_server.index.neighbours import GraphOnDisk, Neighbours
from tests.builders import until

DIM = 64
KEY = bytes(range(32))
ROWS = np.arange(1, 201, dtype=np.int64)


def vectors() -> NDArray[np.float32]:
    drawn = np.random.default_rng(7).normal(size=(len(ROWS), DIM))
    unit: NDArray[np.float32] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit


def on_disk(folder: Path) -> GraphOnDisk:
    return GraphOnDisk(folder, lambda dim, codes_of: ChromaIndex(folder, KEY, dim, codes_of))


@contextmanager
def filled(graph: GraphOnDisk | None, *, graph_from: int = 0) -> Iterator[Neighbours]:
    neighbours = Neighbours(DIM, graph, graph_from=graph_from)
    try:
        neighbours.add(ROWS, pack4(vectors()))
        neighbours.settle()
        yield neighbours
    finally:
        neighbours.close()


def test_the_graph_finds_what_the_scan_finds(tmp_path: Path) -> None:
    with filled(on_disk(tmp_path / "chroma")) as neighbours, filled(None) as scan:
        until(lambda: neighbours.left_on_disk(ROWS))
        for query in vectors()[:10]:
            assert neighbours.search(query, 1, None)[0] == scan.search(query, 1, None)[0]


def test_forgetting_leaves_no_vector_on_the_disk_and_the_rest_comes_back(tmp_path: Path) -> None:
    with filled(on_disk(tmp_path / "chroma")) as neighbours:
        until(lambda: neighbours.left_on_disk(ROWS))
        neighbours.remove(ROWS[:3])
        assert not neighbours.left_on_disk(ROWS[:3])
        until(lambda: neighbours.left_on_disk(ROWS[3:4]))
        assert not neighbours.left_on_disk(ROWS[:3])
        assert not set(neighbours.search(vectors()[0], 10, None)[0].tolist()) & {1, 2, 3}


def test_forgetting_reaches_a_graph_that_is_not_open(tmp_path: Path) -> None:
    folder = tmp_path / "chroma"
    with filled(on_disk(folder)) as neighbours:
        until(lambda: neighbours.left_on_disk(ROWS))
    with filled(on_disk(folder), graph_from=1_000_000) as small:
        assert small.left_on_disk(ROWS[:1])
        small.remove(ROWS[:1])
        assert not small.left_on_disk(ROWS[:1])
        assert not folder.exists()


def test_a_graph_of_other_rows_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "chroma"
    codes = pack4(vectors())
    left = Neighbours(DIM, on_disk(folder), graph_from=0)
    left.add(ROWS[:100], codes[:100])
    left.settle()
    until(lambda: left.left_on_disk(ROWS[:100]))
    left.close()
    # As many rows, but others: what a crash between a forget and its graph leaves.
    now = Neighbours(DIM, on_disk(folder), graph_from=0)
    now.add(ROWS[1:101], codes[1:101])
    now.settle()
    until(lambda: now.left_on_disk(ROWS[100:101]) and not now.left_on_disk(ROWS[:1]))
    now.close()
