"""When vectors travel between this person's devices, a piece in each round of sync, and never before the memories themselves.

They only spare work: whatever goes wrong here is logged, or shown once, and the texts are embedded as they would be without it. While
vectors may come, the index waits with embedding; never for longer than some minutes.
"""

import logging

from msgspec import Struct

from mcp_server.syncing import vector_offering, vector_taking
from mcp_server.syncing.vector_offering import Offering
from mcp_server.syncing.vector_taking import Source
from mcp_server.syncing.way import Way
from mcp_server.vault import vector_lists
from shared.errors import SunaivaError
from sync_service.device import log
from sync_service.members.control import Members
from sync_service.steps.step import Report
from sync_service.transport import Transport

logger = logging.getLogger(__name__)

# Fewer are embedded within half a minute.
WORTH = 1_000
# How often it is looked whether there is something to take, or to offer.
_LOOK_MS = 3_600_000
_HOLD_SECONDS = 600.0
# Until the model is loaded nobody knows which vectors would fit.
_MODEL_SECONDS = 1.0


class Next(Struct, frozen=True):
    more: bool = False
    due_in_seconds: float | None = None


_NOTHING = Next()


class Vectors:
    """Owns what is under way between two rounds. Called by the thread that does the rounds."""

    def __init__(self, way: Way, *, worth: int | None) -> None:
        self._way = way
        self._device = way.device
        self._worth = worth
        """From so many vectors on they travel; None: never."""
        self._source: Source | None = None
        self._offering: Offering | None = None
        self._sought_ms: int | None = None
        self._offered_ms: int | None = None

    def expect(self) -> None:
        """Before a round: a device that is new here waits for vectors, as does one that was interrupted."""
        if self._worth is None:
            return
        with self._device.vault.reading() as db:
            may_come = not log.read(db).caught_up or vector_lists.is_under_way(db)
        if may_come or self._source is not None:
            self._device.index.hold.keep(_HOLD_SECONDS)

    def step(self, transport: Transport, report: Report, *, sparing: bool) -> Next:
        """After a round that reached the end of what others wrote. `sparing`: bytes cost money, and embedding does not."""
        if self._worth is None:
            return _NOTHING
        if report.unavailable is None and (report.is_behind or not report.reached_head):
            return _NOTHING
        after = _NOTHING
        if report.unavailable is None and not sparing:
            try:
                after = self._exchange(transport, self._worth)
            except SunaivaError as error:
                logger.info("vectors do not travel now: %s", error)
                self._source = self._offering = None
        if not after.more and after.due_in_seconds is None:
            self.expect_no_more()
        return after

    def expect_no_more(self) -> None:
        self._device.index.hold.end()

    def _exchange(self, transport: Transport, worth: int) -> Next:
        with self._device.vault.reading() as db:
            members = log.members(db)
        index = self._device.index
        if index.embedder is None:
            waits = index.hold.left_seconds() and index.state().trouble is None
            return Next(due_in_seconds=_MODEL_SECONDS) if waits else _NOTHING
        if self._take(transport, members, worth):
            return Next(more=True)
        self.expect_no_more()
        return Next(more=self._offer(transport, members, worth))

    def _take(self, transport: Transport, members: Members, worth: int) -> bool:
        """Whether it may go on."""
        now_ms, embedder = self._way.now_ms(), self._device.index.embedder
        assert embedder is not None
        if self._source is None:
            if self._device.index.state().waiting < worth or not _is_over(self._sought_ms, now_ms):
                return False
            kind = vector_taking.kind_of(embedder)
            self._sought_ms = now_ms
            self._source = vector_taking.find(self._device, transport, members, kind, now_ms)
            if self._source is None:
                return False
        if not vector_taking.take_piece(self._device, transport, self._source, now_ms):
            self._source = None
        return self._source is not None

    def _offer(self, transport: Transport, members: Members, worth: int) -> bool:
        """Whether it is to go on."""
        now_ms, index = self._way.now_ms(), self._device.index
        state, serving = index.state(), index.serving()
        if serving is None or state.waiting or state.reindexing is not None:
            return False  # they would be incomplete, or of a model that is about to go
        embedder, there = serving
        if self._offering is None:
            if len(there) < worth or not _is_over(self._offered_ms, now_ms):
                return False
            self._offered_ms = now_ms
            kind = vector_taking.kind_of(embedder)
            self._offering = vector_offering.begin(self._device, transport, members, kind)
        else:
            self._offering = vector_offering.go_on(self._device, transport, members, self._offering)
        return self._offering is not None


def _is_over(looked_ms: int | None, now_ms: int) -> bool:
    return looked_ms is None or not 0 <= now_ms - looked_ms < _LOOK_MS
