"""Memories of 300 characters with six fields, as operations and as plain values: the same for ours and for every peer.

The sentences are made up (`bench.texts`) unless a recall file is given: templates repeat themselves more than people do, so what
they compress to is an upper figure, and the file's the honest one.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import dataset, texts
from shared.ids import IdFactory
from sync_service.changes import merge
from sync_service.changes.clock import COUNTER_BITS, Hlc
from sync_service.changes.fields import Field
from sync_service.changes.ops import Op

CHARACTERS = 300
NAMES = ("text", "kind", "space", "trust", "client", "occurred")
_FIELDS = (Field.TEXT, Field.KIND, Field.SPACE, Field.TRUST, Field.CLIENT, Field.OCCURRED)
_START = datetime(2026, 1, 1, tzinfo=UTC)
_APART_MS = 61_000
_encode = msgspec.msgpack.Encoder().encode


class Memory(Struct, frozen=True):
    id: bytes
    hlc: Hlc
    values: tuple[str | int, ...]
    """In the order of `NAMES`."""

    def op(self) -> Op:
        said = {
            int(field): _encode(value) for field, value in zip(_FIELDS, self.values, strict=True)
        }
        (op,) = merge.edit(merge.EMPTY, self.id, self.hlc, fields=said)
        return op


def memories(said: Sequence[str], count: int, seed: int) -> list[Memory]:
    """A memory a minute, each with another text as long as there are any."""
    rng = random.Random(seed)
    first_ms = int(_START.timestamp() * 1_000)
    moments = [first_ms + number * _APART_MS for number in range(count)]
    turn = iter(moments)
    ids = IdFactory(lambda: datetime.fromtimestamp(next(turn) / 1_000, UTC), rng.getrandbits)
    return [
        Memory(
            ids.uuid().bytes,
            Hlc(ms << COUNTER_BITS),
            (text, "note", "personal", "said_by_user", "bench", ms - rng.randrange(60_000)),
        )
        for ms, text in zip(moments, itertools.cycle(said), strict=False)
    ]


def made_up(count: int, seed: int) -> list[str]:
    return list(itertools.islice(_portions(turn["text"] for turn in texts.turns(seed)), count))


def of_file(path: Path, count: int) -> list[str]:
    """What was said in a recall file, in portions of 300 characters; fewer than asked for if there is less.

    Raises:
        InvalidError: it is no such file.
    """
    docs = (doc.text for scope in dataset.load(path).scopes for doc in scope.docs)
    return list(itertools.islice(_portions(docs), count))


def _portions(turns: Iterator[str]) -> Iterator[str]:
    """All of it in order, newly divided: what is left of one turn begins the next portion."""
    kept = ""
    for turn in turns:
        kept = f"{kept} {turn}" if kept else turn
        while len(kept) >= CHARACTERS:
            yield kept[:CHARACTERS]
            kept = kept[CHARACTERS:].lstrip()
