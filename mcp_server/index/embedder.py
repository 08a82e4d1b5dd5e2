"""Texts into vectors. The served model is a quantised ONNX export, without torch and without a network.

`Embedder` is a port: the shipped one here, the reference that the export is checked against, and a deterministic fake in tests.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.index.quiet import forbid_telemetry
from shared.errors import UnavailableError

ABOUT = "about.json"


class Embedder(Protocol):
    model_id: str
    """Names the weights and their quantisation; vectors of another model are never compared with these."""
    dim: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Normalised vectors, one row for each text, in order."""


class About(Struct, frozen=True, kw_only=True):
    """What an export says of itself, in its folder."""

    model_id: str
    dim: int
    tokens_max: int
    """Of a longer text, so many of its first tokens are read."""
    sizes: dict[str, int]
    """Bytes of each of its files."""


class OnnxEmbedder:
    """Serves an export made by `index.export`. Safe to share between threads.

    Each text is run alone, `threads` of them at a time. Quantisation fits its scale to all that is in a batch, so in company the
    same text came out up to 0.03 of cosine away from itself; alone it is always the same, closer to the original, and on
    two cores faster than batches on two threads of the runtime's.
    """

    def __init__(self, folder: Path, threads: int = 2) -> None:
        forbid_telemetry()
        import onnxruntime  # noqa: PLC0415 (0.3 s that a keyword answer need not wait for)
        from tokenizers import Tokenizer  # noqa: PLC0415

        made = about(folder)
        self.model_id = made.model_id
        self.dim = made.dim
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(made.tokens_max)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # it would keep what the longest text ever needed
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.zeros((len(texts), self.dim), np.float32)
        run = (
            map if len(texts) == 1 else self._pool.map
        )  # a question is not worth a change of thread
        for number, vector in enumerate(run(self._vector, texts)):
            found[number] = vector
        return found

    def _vector(self, text: str) -> NDArray[np.float32]:
        encoded = self._tokenizer.encode(text)
        given = {
            "input_ids": encoded.ids,
            "attention_mask": encoded.attention_mask,
            "token_type_ids": encoded.type_ids,
        }
        feed = {name: np.array([given[name]], np.int64) for name in self._inputs}
        (vectors,) = self._session.run(None, feed)
        return np.asarray(vectors[0], np.float32)


def about(folder: Path) -> About:
    return msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)


class ReferenceEmbedder:
    """sentence-transformers itself: what every export is measured against. Slow to load, and it brings torch."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():  # or the name would be looked for on a hub
            raise UnavailableError(f"There is no model in {folder}.")
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (five seconds and 700 MB)

        self._model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self.model_id = f"{folder.name}/reference/{weights_hash(folder)}"
        self.dim = int(self._model.get_embedding_dimension() or 0)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._model.encode(
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32).reshape(len(texts), self.dim)


def weights_hash(folder: Path) -> str:
    """The first twelve hexadecimal digits of the SHA-256 of a model's weights.

    Raises:
        UnavailableError: the folder holds none.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    raise UnavailableError(
        f"{folder} holds no model that can be used: it has neither model.safetensors nor pytorch_model.bin."
    )
