"""States in portions that a segment of a snapshot holds, however large what devices have said of one memory has become. Pure.

A state that is too large alone is parted into several whose join it is: so nothing that anybody wrote ever stands in the way of a
snapshot, and whoever joins the parts, in any order, has all of it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sync_service.changes.merge import State, Version
from sync_service.changes.ops import OP_BYTES_MAX

# Sealed and padded this stays below the 4 MiB of a segment; a rival beside the version that it lost to fits, too.
PORTION_BYTES_MAX = 3 * 1024 * 1024
assert PORTION_BYTES_MAX > 2 * OP_BYTES_MAX
# What stands around a value: field, clock, stream, lengths. A quarter of a segment is left for where it is more.
_AROUND = 32

Row = tuple[bytes, State]
T = TypeVar("T")


def portions(rows: Iterable[Row], *, bytes_max: int = PORTION_BYTES_MAX) -> Iterator[list[Row]]:
    """These rows in their order, as many at a time as a segment holds; each part of a large one in a segment of its own."""
    portion: list[Row] = []
    size = 0
    for memory, state in rows:
        length = _size(state)
        if portion and size + length > bytes_max:
            yield portion
            portion, size = [], 0
        if length > bytes_max:
            yield from ([(memory, part)] for part in parts(state, bytes_max=bytes_max))
            continue
        portion.append((memory, state))
        size += length
    if portion:
        yield portion


def parts(state: State, *, bytes_max: int) -> Iterator[State]:
    """States whose join is this one; the fields, by which it is shown, first."""
    for versions in _chunks(sorted(state.fields.items()), _of_version, bytes_max):
        yield State(fields=dict(versions))
    for tags in _chunks(sorted(state.tags.items()), _of_tag, bytes_max):
        yield State(tags=dict(tags))
    for links in _chunks(sorted(state.links.items()), _of_link, bytes_max):
        yield State(links=dict(links))
    for field in sorted({field for field, _ in state.rivals}):
        shown = {field: state.fields[field]}
        rivals = sorted(rival for rival in state.rivals if rival[0] == field)
        left = bytes_max - _of_version((field, shown[field]))
        for some in _chunks(rivals, _of_version, left):
            yield State(fields=shown, rivals=frozenset(some))
    for replaced in _chunks(sorted(state.replaced), lambda _: _AROUND, bytes_max):
        yield State(replaced=frozenset(replaced))
    for foreign in _chunks(sorted(state.foreign), _of_foreign, bytes_max):
        yield State(foreign=frozenset(foreign))


def _size(state: State) -> int:
    return (
        _AROUND
        + sum(map(_of_version, state.fields.items()))
        + sum(map(_of_tag, state.tags.items()))
        + sum(map(_of_link, state.links.items()))
        + sum(map(_of_version, state.rivals))
        + _AROUND * len(state.replaced)
        + sum(map(_of_foreign, state.foreign))
    )


def _of_version(one: tuple[int, Version]) -> int:
    return _AROUND + len(one[1][2])


def _of_tag(one: tuple[str, int]) -> int:
    return _AROUND + len(one[0].encode())


def _of_link(one: tuple[tuple[str, bytes], int]) -> int:
    return _AROUND + len(one[0][0].encode())


def _of_foreign(one: tuple[int, int, bytes, bytes]) -> int:
    return _AROUND + len(one[3])


def _chunks(items: Iterable[T], size_of: Callable[[T], int], bytes_max: int) -> Iterator[list[T]]:
    chunk: list[T] = []
    size = 0
    for item in items:
        length = size_of(item)
        if chunk and size + length > bytes_max:
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += length
    if chunk:
        yield chunk
