"""The model that ships, as it is served, and the stand-in that other tests use for it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mcp_server.index.embedder import Embedder, OnnxEmbedder, ReferenceEmbedder
from mcp_server.index.export import bundled_model_folder
from shared.errors import UnavailableError
from tests.fakes import HashEmbedder

_TEXTS = (
    "Ann moved to Hamburg in March because of her new job.",
    "no",
    "",
    "🎉",
    "Я люблю чай",
    "a\0b",
    "The committee met again and again. " * 200,
)


@pytest.fixture(params=["served", "stand-in", "stand-in, small"])
def embedder(request: pytest.FixtureRequest, onnx: OnnxEmbedder) -> Embedder:
    by_name: dict[str, Embedder] = {
        "served": onnx,
        "stand-in": HashEmbedder(),
        "stand-in, small": HashEmbedder(16),
    }
    return by_name[request.param]


def test_every_text_has_a_normalised_vector(embedder: Embedder) -> None:
    vectors = embedder.embed(_TEXTS)

    assert vectors.shape == (len(_TEXTS), embedder.dim)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_no_texts_have_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dim)


def test_a_text_has_the_same_vector_in_any_company(embedder: Embedder) -> None:
    together = embedder.embed(_TEXTS)

    assert [embedder.embed([text])[0].tolist() for text in _TEXTS] == together.tolist()


def test_threads_do_not_disturb_each_other(embedder: Embedder) -> None:
    expected = embedder.embed(_TEXTS).tolist()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(embedder.embed, [_TEXTS] * 12))

    assert [answer.tolist() for answer in answers] == [expected] * 12


def test_what_means_the_same_is_nearer_than_what_does_not(onnx: OnnxEmbedder) -> None:
    question, answer, other = onnx.embed(
        [
            "Where does Ann work now?",
            "Ann found a position at the harbour museum.",
            "Boil the rice for twelve minutes.",
        ]
    )

    assert question @ answer > question @ other + 0.3


def test_what_is_served_means_what_the_reference_means(onnx: OnnxEmbedder) -> None:
    reference = ReferenceEmbedder(bundled_model_folder())
    texts = [text for text in _TEXTS if text.strip()]

    cosines = (onnx.embed(texts) * reference.embed(texts)).sum(axis=1)

    assert reference.dim == onnx.dim
    assert reference.model_id != onnx.model_id
    assert cosines.min() > 0.95


def test_reference_is_never_looked_for_on_a_network(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no model in"):
        ReferenceEmbedder(tmp_path / "all-MiniLM-L6-v2")


def test_stand_in_knows_shared_words_and_nothing_else() -> None:
    one, same, part, other = HashEmbedder().embed(
        ["Ann likes green tea", "ann LIKED green teas", "green tea is tea", "boil the rice"]
    )

    assert one @ same > 0.7
    assert one @ same > one @ part > abs(one @ other)


CALLS_HOME = """
import sys
from pathlib import Path
from mcp_server.index.chroma import ChromaIndex
from mcp_server.index.embedder import OnnxEmbedder

OnnxEmbedder(Path(sys.argv[1])).embed(["hello"])
ChromaIndex(Path(sys.argv[2]), bytes(32), 8, lambda rows: None).close()
print(sorted(str(path) for path in Path.home().rglob("*") if path.is_file()))
"""


def test_no_library_prepares_to_call_home(exported: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", CALLS_HOME, exported, tmp_path / "chroma"],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr
