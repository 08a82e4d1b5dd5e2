"""The same memories in less space: loose texts go into compressed blocks, and back again. Nothing is lost, shortened or merged.

Works in small steps, each one transaction: whatever ends it in between leaves a whole vault, and the next run goes on from
there. A block is compressed before the transaction that puts it in its place begins, so a `remember` waits for some 10 ms only.
"""

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from mcp_server.device import Device
from mcp_server.vault import blocks, texts
from shared.clock import from_ms, to_ms
from shared.errors import SunaivaError, UnavailableError

_log = logging.getLogger(__name__)

# Less than two pages of text would take as many pages as a block.
LEAST_BYTES = 8_192
# One head for so many blocks: with more, the later ones have little in common with it; and to forget a memory of the
# head, all of them are taken apart.
LED_MAX = 7
IDLE_SECONDS = 600.0
_LOOK_SECONDS = 60.0
_PAGES_PER_STEP = 500  # 2 MB, some 10 ms

Progress = dict[str, Any]


class Outcome(Struct, frozen=True, kw_only=True):
    did: Literal["packed", "undone", "estimated"]
    memories: int
    """Whose texts were moved."""
    text_bytes: int
    """What these texts took loose."""
    block_bytes: int
    """What they take in blocks."""
    file_bytes_before: int
    file_bytes_after: int


class Last(Struct, frozen=True):
    """What the last consolidation did."""

    at: datetime
    did: Literal["packed", "undone"]
    memories: int
    file_bytes_before: int
    file_bytes_after: int


class _Batch(Struct, frozen=True):
    texts: dict[int, str]
    text_bytes: int


def run(
    device: Device,
    *,
    block_bytes: int = blocks.BLOCK_BYTES,
    least_bytes: int = LEAST_BYTES,
    stop: Callable[[], bool] = lambda: False,
    dry: bool = False,
) -> Generator[Progress, None, Outcome]:
    """Pack loose texts until fewer than `least_bytes` of them are left; `dry` only finds out what that would save."""
    before = device.vault.file_bytes()
    with device.vault.reading() as db:
        there = texts.loose_amount(db)
        head = texts.open_head(db, led_max=LED_MAX)
    memories = text_bytes = packed_bytes = 0
    for batch in _batches(device, block_bytes, least_bytes):
        if stop():
            break
        gathered = blocks.gather(batch.texts)
        leading = head.content if head else None
        body = blocks.pack(gathered, leading)
        number = None if dry else _put(device, batch, body, head)
        if number is None and not dry:
            # One of them was forgotten meanwhile, perhaps with the head: the next run takes the others.
            with device.vault.reading() as db:
                head = texts.open_head(db, led_max=LED_MAX)
            continue
        head = _next_head(head, number or 0, body)
        memories += len(batch.texts)
        text_bytes += batch.text_bytes
        packed_bytes += len(body)
        yield {"doing": "Consolidating", "done": memories, "total": there.memories}
    if not dry:
        yield from _give_back(device)
    outcome = Outcome(
        did="estimated" if dry else "packed",
        memories=memories,
        text_bytes=text_bytes,
        block_bytes=packed_bytes,
        file_bytes_before=before,
        file_bytes_after=device.vault.file_bytes(),
    )
    if memories and not dry:
        _remember_last(device, outcome)
    return outcome


def undo(device: Device) -> Generator[Progress, None, Outcome]:
    """Give every memory its loose text back; none goes into a block by itself until `run` is asked for again."""
    before = device.vault.file_bytes()
    with device.vault.reading() as db:
        numbers = texts.block_numbers(db)
    memories = 0
    for done, number in enumerate(numbers, 1):
        with device.vault.writing() as db:
            memories += texts.loosen(db, number)
        yield {"doing": "Taking blocks apart", "done": done, "total": len(numbers)}
    yield from _give_back(device)
    outcome = Outcome(
        did="undone",
        memories=memories,
        text_bytes=0,
        block_bytes=0,
        file_bytes_before=before,
        file_bytes_after=device.vault.file_bytes(),
    )
    _remember_last(device, outcome)
    return outcome


def last(device: Device) -> Last | None:
    with device.vault.reading() as db:
        found = db.execute(
            "SELECT at_ms, did, memories, bytes_before, bytes_after FROM consolidation"
        ).fetchone()
    return None if found is None else Last(from_ms(found[0]), *found[1:])


class WhenIdle:
    """Owns the thread that consolidates while nobody uses the vault. What was undone by hand stays so."""

    def __init__(
        self,
        device: Device,
        *,
        idle_seconds: float = IDLE_SECONDS,
        rests: Callable[[], bool] = lambda: False,
    ) -> None:
        """`rests`: whether what nobody waits for shall wait, because the battery is low."""
        self._device = device
        self._idle_seconds = idle_seconds
        self._rests = rests
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="consolidate", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(min(_LOOK_SECONDS, self._idle_seconds)):
            if self._needed():
                continue
            try:
                if self._device.vault.rewrite_is_due:
                    self._device.vault.rewrite()
                self._consolidate()
            except SunaivaError as error:
                _log.warning("consolidation waits: %s", error)

    def _needed(self) -> bool:
        """Whether somebody needs the vault, or the machine, now."""
        used = self._device.unused_seconds() < self._idle_seconds
        if used or self._stop.is_set() or self._device.index.state().waiting > 0:
            return True
        return self._rests()

    def _consolidate(self) -> None:
        with self._device.vault.reading() as db:
            loose = texts.loose_amount(db)
        before = last(self._device)
        if loose.text_bytes < blocks.BLOCK_BYTES or (before is not None and before.did == "undone"):
            return
        # Whole blocks only: a small one for each evening would be many small ones.
        for _ in run(self._device, least_bytes=blocks.BLOCK_BYTES, stop=self._needed):
            pass


def _batches(device: Device, block_bytes: int, least_bytes: int) -> Iterator[_Batch]:
    """Loose texts in row order, a block's worth at a time, each with those that say the same elsewhere."""
    with device.vault.reading() as db:
        twin_of = {row: rows for rows in texts.twins(db) for row in rows}
    after = 0
    taken: set[int] = set()  # twins of an earlier batch, in case that was a dry one
    while True:
        with device.vault.reading() as db:
            chosen: list[int] = []
            room = block_bytes
            for row, size in texts.loose(db, after_row=after):
                if room <= 0:
                    break
                if row not in taken:
                    chosen.append(row)
                    room -= size
            if not chosen or block_bytes - room < least_bytes:
                return
            after = chosen[-1]
            together = {twin for row in chosen for twin in twin_of.get(row, [row])} - taken
            taken.update(row for row in together if row > after)
            batch = _Batch(texts.of(db, together), block_bytes - room)
        yield batch


def _put(device: Device, batch: _Batch, body: bytes, head: texts.Head | None) -> int | None:
    with device.vault.writing() as db:
        return texts.pack(db, batch.texts, body, head=head.number if head else None)


def _next_head(head: texts.Head | None, number: int, body: bytes) -> texts.Head | None:
    """What the next block is compressed against: this one, if it leads, until it leads as many as it may."""
    if head is None:
        return texts.Head(number, blocks.content(body, None), 0)
    led = head.led + 1
    return None if led >= LED_MAX else texts.Head(head.number, head.content, led)


def _give_back(device: Device) -> Iterator[Progress]:
    """Make the file as small as its contents, a little at a time."""
    while device.vault.shrink(_PAGES_PER_STEP):
        yield {"doing": "Giving free space back"}
    try:
        device.vault.truncate_wal()
    except UnavailableError:
        _log.info("the log is written back later: somebody is reading")


def _remember_last(device: Device, outcome: Outcome) -> None:
    with device.vault.writing() as db:
        db.execute(
            """INSERT OR REPLACE INTO consolidation (number, at_ms, did, memories, bytes_before, bytes_after)
               VALUES (1, ?, ?, ?, ?, ?)""",
            [
                to_ms(device.clock()),
                outcome.did,
                outcome.memories,
                outcome.file_bytes_before,
                outcome.file_bytes_after,
            ],
        )
