"""The turns of a data set in a vault of this process, for measurements that look inside, or that may take only seconds.

The vault, the indexes, the model and the ranking are the shipped ones; MCP and the agent are left out. It is gone afterwards.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from platformdirs import user_cache_path

from bench.dataset import Dataset, Doc, Scope
from bench.progress import Progress
from mcp_server.device import Device, database_key, open_device
from mcp_server.index.embedder import OnnxEmbedder
from mcp_server.index.export import bundled_model_folder, export_in_child
from mcp_server.index.models import Models
from mcp_server.memory import remember
from mcp_server.model import DRAFTS_PER_CALL_MAX, Draft, Source
from mcp_server.vault.db import DATABASE_NAME, create_vault
from shared.clock import system_clock
from shared.errors import UnavailableError
from shared.ids import MemoryId

_ROOT = bytes(32)  # the vault lives as long as the measurement
_POLL_SECONDS = 0.05


class Filled(Struct, frozen=True):
    device: Device
    places: dict[MemoryId, tuple[str, str]]
    """Of each memory, its scope and its turn, in the order of storing."""


@contextmanager
def filled(dataset: Dataset, progress: Progress) -> Iterator[Filled]:
    """One vault with every turn in it, one space for each scope, all of it searchable.

    Raises:
        UnavailableError: time was up first.
    """
    models = Path(os.environ.get("SUNAIVA_MODEL_CACHE") or user_cache_path("sunaiva") / "models")
    with tempfile.TemporaryDirectory(prefix="sunaiva-bench-") as folder:
        home = Path(folder)
        embedder = OnnxEmbedder(export_in_child(bundled_model_folder(), models))
        create_vault(home / DATABASE_NAME, database_key(_ROOT))
        device = open_device(
            home,
            _ROOT,
            clock=system_clock,
            models=Models(lambda _: embedder.model_id, lambda _: embedder),
        )
        try:
            yield Filled(device, _store(device, dataset, progress))
        finally:
            device.close()


def _store(device: Device, dataset: Dataset, progress: Progress) -> dict[MemoryId, tuple[str, str]]:
    places: dict[MemoryId, tuple[str, str]] = {}
    for scope in progress.over(dataset.scopes, f"{dataset.name}: store"):
        for session, docs in scope.sessions.items():
            drafts = [_draft(scope, session, place, doc) for place, doc in enumerate(docs)]
            for start in range(0, len(drafts), DRAFTS_PER_CALL_MAX):
                some = slice(start, start + DRAFTS_PER_CALL_MAX)
                stored = remember(device, drafts[some], client="bench")
                places |= {
                    each.id: (scope.id, doc.id)
                    for each, doc in zip(stored, docs[some], strict=True)
                }
    _wait(device, progress)
    return places


def _draft(scope: Scope, session: str, place: int, doc: Doc) -> Draft:
    return Draft(
        text=doc.text,
        source=Source(trust="said_by_assistant" if doc.role == "assistant" else "said_by_user"),
        kind="turn",
        space=scope.id,
        speaker=doc.who,
        conversation=f"{scope.id}/{session}",
        position=place,
        occurred_at=datetime.fromisoformat(doc.ts).replace(tzinfo=UTC),
    )


def _wait(device: Device, progress: Progress) -> None:
    tick = threading.Event()
    while not (device.index.state().meaning and device.index.state().waiting == 0):
        if progress.time_is_up():
            raise UnavailableError("The index was not complete in time. Give more --seconds.")
        tick.wait(_POLL_SECONDS)
