"""Counting memories that are written one at a time: a vault may not fit in memory, and the report needs their number."""

from collections.abc import Iterator

from mcp_server.model import Memory


class Counted:
    """Passes memories on, in the order of their ids, and knows how many there were."""

    def __init__(self, memories: Iterator[Memory]) -> None:
        self._memories = memories
        self.count = 0

    def __iter__(self) -> Iterator[Memory]:
        last = ""
        for memory in self._memories:
            assert last < memory.id, "an export that is not ordered by id could not be reproduced"
            last = memory.id
            self.count += 1
            yield memory
