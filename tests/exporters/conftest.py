"""Memories as a vault holds them, and how to export and import them."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mcp_server import exporters, importers
from mcp_server.exporters import ExportFormat, ExportReport
from mcp_server.importers import Item
from mcp_server.model import Memory, Source
from shared.ids import MemoryId

NOON = datetime(2026, 3, 1, 12, 0, 0, 0, UTC)


@pytest.fixture
def memory() -> Callable[..., Memory]:
    """A plain memory with the id of a number, changed as asked."""

    def make(number: int, text: str = "Likes green tea.", **changed: Any) -> Memory:
        plain = Memory(
            id=MemoryId(f"0199f2f4-9c1e-7a10-8f7e-{number:012x}"),
            text=text,
            source=Source(trust="said_by_user", client="claude-desktop", tool="remember"),
            kind="fact",
            space="personal",
            tags=(),
            links=(),
            occurred_at=None,
            valid_from=None,
            valid_to=None,
            speaker=None,
            conversation=None,
            position=None,
            importance=0.5,
            pinned=False,
            archived=False,
            superseded_by=None,
            version=1,
            created_at=NOON,
            updated_at=NOON,
        )
        return replace(plain, **changed)

    return make


@pytest.fixture
def export() -> Callable[..., ExportReport]:
    def run(
        memories: Iterable[Memory], destination: Path, format: ExportFormat, **options: Any
    ) -> ExportReport:
        return exporters.write(iter(memories), destination, format, clock=lambda: NOON, **options)

    return run


@pytest.fixture
def read() -> Callable[..., list[Item]]:
    def run(path: Path, **options: Any) -> list[Item]:
        return list(importers.read(path, None, clock=lambda: NOON, **options))

    return run
