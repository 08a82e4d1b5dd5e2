"""Filling a vault with more memories than a model embeds in reasonable time.

Texts are those of `bench.texts`; a vector is a seeded mixture of the real vectors of two real texts, with a little noise. All else is the
product: the same functions store the memories, and the index thread writes the vectors exactly as it writes real ones, because what
it is given as the model is `Mixtures`. The vault must not be served meanwhile.
"""

import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import texts
from bench.device import Device
from bench.progress import Progress
from mcp_server.device import Device as Opened
from mcp_server.device import open_device
from mcp_server.index.embedder import OnnxEmbedder
from mcp_server.index.entries import memory_text
from mcp_server.index.export import bundled_model_folder, export_in_child
from mcp_server.index.models import Models
from mcp_server.memory import capture_drafts, remember
from mcp_server.model import Draft, Source, Trust
from mcp_server.settings import load
from mcp_server.vault.keys import unlock_with_words
from shared.errors import UnavailableError

_CONVERSATION = 500  # turns
_MIXED = 2_000  # real vectors that are mixed
_NOISE = 0.2
_POLL_SECONDS = 0.2


class Mixtures(OnnxEmbedder):
    """The real model in everything but what it makes of a memory."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder)
        said = itertools.islice(texts.turns(seed), _MIXED)
        self._real = super().embed([memory_text(turn["text"], turn["speaker"]) for turn in said])
        self._rng = np.random.default_rng(seed)

    def embed(self, said: Sequence[str]) -> NDArray[np.float32]:
        first, second = self._rng.integers(0, len(self._real), (2, len(said)))
        share = self._rng.uniform(0.5, 0.95, (len(said), 1))
        noise = self._rng.normal(0, _NOISE / np.sqrt(self.dim), (len(said), self.dim))
        mixed = share * self._real[first] + (1 - share) * self._real[second] + noise
        return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


def fill(device: Device, number: int, seed: int, progress: Progress) -> None:
    """Store so many turns with vectors in the vault of `device`, which nobody serves.

    Raises:
        UnavailableError: time was up first.
    """
    settings = load(device.environment)
    folder = export_in_child(bundled_model_folder(), settings.model_cache)
    root = unlock_with_words(device.home, device.recovery_words).current
    model = Mixtures(folder, seed)
    opened = open_device(
        device.home,
        root,
        clock=lambda: datetime.now(UTC),
        models=Models(lambda _: model.model_id, lambda _: model),
    )
    try:
        made = texts.turns(seed)
        for start in progress.over(range(0, number, _CONVERSATION), f"{number:,}: fill"):
            batch = itertools.islice(made, min(_CONVERSATION, number - start))
            _store(opened, f"conversation {start}", [_draft(turn) for turn in batch])
        progress.say("waiting for the vectors")
        while opened.index.vectors is None or opened.index.state().waiting:
            if progress.time_is_up():
                raise UnavailableError(
                    f"Time was up before {number:,} were in. Give more --seconds."
                )
            time.sleep(_POLL_SECONDS)
    finally:
        opened.close()


def _store(opened: Opened, conversation: str, drafts: list[Draft]) -> None:
    keyed = capture_drafts(opened, conversation, drafts, space="personal")
    remember(opened, keyed, client="bench")


def _draft(turn: dict[str, str]) -> Draft:
    trust: Trust = "said_by_assistant" if "role" in turn else "said_by_user"
    return Draft(
        text=turn["text"],
        source=Source(trust=trust, client="bench", tool="capture", key=turn["key"]),
        kind="turn",
        speaker=turn["speaker"],
        occurred_at=datetime.fromisoformat(turn["at"]),
    )
