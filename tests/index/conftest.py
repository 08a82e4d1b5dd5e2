"""The real model, exported once per machine, and vectors that look like its."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mcp_server.index.embedder import OnnxEmbedder
from mcp_server.index.export import bundled_model_folder, export_in_child
from tests.computer import model_cache


@pytest.fixture(scope="session")
def exported() -> Path:
    # In the person's own cache: it takes half a minute, and it is what they will use.
    return export_in_child(bundled_model_folder(), model_cache())


@pytest.fixture(scope="session")
def onnx(exported: Path) -> OnnxEmbedder:
    return OnnxEmbedder(exported)


@pytest.fixture(scope="session")
def clustered() -> NDArray[np.float32]:
    """4,000 vectors in 200 clusters, as texts about the same things are."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(200, 384))
    vectors = centres[random.integers(0, 200, 4_000)] + 0.8 * random.normal(size=(4_000, 384))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
        np.float32
    )
    return unit
