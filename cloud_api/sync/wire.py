"""What several routes of sync take and give."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Request
from msgspec import Struct

from cloud_api.devices.authentication import pass_of
from cloud_api.devices.passes import DevicePassError, Pass
from cloud_api.sync.refusals import VaultNotFoundError
from cloud_api.sync.store import VaultRow

POSITION_MAX = 2**63 - 1

GENERATION = "sunaiva-generation"
HEAD_POS = "sunaiva-head-pos"
MIN_POS = "sunaiva-min-pos"


class VaultAnswer(Struct, frozen=True, kw_only=True):
    """A vault as it stands. Batches up to `min_pos` are in a snapshot only."""

    id: UUID
    generation: UUID
    head_pos: int
    min_pos: int
    control_seq: int
    quota_bytes: int
    used_bytes: int
    created_at: datetime
    pushed_at: datetime | None


def vault_answer(row: VaultRow) -> VaultAnswer:
    return VaultAnswer(
        id=row.id,
        generation=row.generation,
        head_pos=row.head_pos,
        min_pos=row.min_pos,
        control_seq=row.control_seq,
        quota_bytes=row.quota_bytes,
        used_bytes=row.used_bytes,
        created_at=row.created_at,
        pushed_at=row.pushed_at,
    )


def own_pass(request: Request[Any, Any, Any], vault: UUID) -> Pass:
    """The pass of a device, for this vault.

    Raises:
        DevicePassError: there is none.
        VaultNotFoundError: it is for another one.
    """
    found = pass_of(request.scope)
    if found is None:
        raise DevicePassError
    if found.vault != vault:
        raise VaultNotFoundError
    return found


def lengths_and(parts: Iterable[bytes]) -> bytes:
    """Each with its length (4 bytes) before it, one after another."""
    return b"".join(piece for part in parts for piece in (len(part).to_bytes(4, "big"), part))
