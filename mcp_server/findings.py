"""What is noticed when a memory comes in: likenesses, contradictions, updates. Noted for a person to decide, never acted on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server import noticing
from mcp_server.device import Device
from mcp_server.index.catalogue import Filter
from mcp_server.model import Kind
from mcp_server.noticing import Relation
from mcp_server.vault import store
from mcp_server.vault.store import Row
from shared.clock import to_ms
from shared.ids import MemoryId

if TYPE_CHECKING:
    from sqlite_utils import Database

# How many of the nearest memories a new one is compared with; more would only be further away.
_COMPARED = 5
# Turns say the same thing again and again, and rightly so.
_COMPARED_KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "turn")

Added = tuple[Row, NDArray[np.float32] | None]
"""A memory just stored, and its vector if it has one already."""


class Similar(Struct, frozen=True):
    id: MemoryId
    text: str
    relation: Relation


def notice(device: Device, db: "Database", added: Sequence[Added]) -> tuple[Similar, ...]:
    """Compare the memory added last with its nearest, those added with it among them, and note what may be the same or a
    contradiction.
    """
    new, vector = added[-1]
    if vector is None or device.index.vectors is None:
        return ()
    same_space = Filter(spaces=(new.memory.space,), kinds=_COMPARED_KINDS)
    comparable = device.index.catalogue.visible(same_space, now_ms=to_ms(device.clock()))
    rows, cosines = device.index.vectors.search(vector, _COMPARED, comparable)
    near = dict(zip(rows.tolist(), cosines.tolist(), strict=True))
    near |= {row.row: float(other @ vector) for row, other in added[:-1] if other is not None}
    found = []
    for row, other in store.by_rows(db, near).items():
        how = noticing.relation(new.memory.text, other.text, near[row])
        if how is None or other.kind == "turn" or other.space != new.memory.space:
            continue
        db.execute(
            "INSERT OR IGNORE INTO findings (relation, first, second, noticed_ms) VALUES (?, ?, ?, ?)",
            [how, store.as_bytes(other.id), store.as_bytes(new.memory.id), to_ms(device.clock())],
        )
        found.append(Similar(other.id, other.text, how))
    return tuple(found)
