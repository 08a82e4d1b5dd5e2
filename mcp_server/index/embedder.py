"""Texts into vectors. The served model is a quantised ONNX export, without torch and without a network.

`Embedder` is a port: the shipped one here, the reference that the export is checked against, and a deterministic fake in tests.
"""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

_BATCH = 16  # larger ones were slower on two cores: the longest text pads all the others


class Embedder(Protocol):
    model_id: str
    """Names the weights and their quantisation; vectors of another model are never compared with these."""
    dim: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Normalised vectors, one row for each text, in order."""


class OnnxEmbedder:
    """Serves an export made by `index.export`. Safe to share between threads."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        import onnxruntime  # noqa: PLC0415 (0.3 s that a keyword answer need not wait for)
        from tokenizers import Tokenizer  # noqa: PLC0415

        about = msgspec.json.decode((folder / "about.json").read_bytes(), type=dict[str, Any])
        self.model_id: str = about["model_id"]
        self.dim: int = about["dim"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(about["tokens_max"])
        self._tokenizer.enable_padding()
        self._tokenizing = threading.Lock()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = (
            False  # batches of every length would each keep their own arena
        )
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [each.name for each in self._session.get_inputs()]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.zeros((len(texts), self.dim), np.float32)
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            found[batch] = self._run([texts[number] for number in batch])
        return found

    def _run(self, texts: list[str]) -> NDArray[np.float32]:
        with self._tokenizing:
            encoded = self._tokenizer.encode_batch(texts)
        given = {
            "input_ids": np.array([each.ids for each in encoded], np.int64),
            "attention_mask": np.array([each.attention_mask for each in encoded], np.int64),
            "token_type_ids": np.array([each.type_ids for each in encoded], np.int64),
        }
        (vectors,) = self._session.run(None, {name: given[name] for name in self._inputs})
        return np.asarray(vectors, np.float32)


class ReferenceEmbedder:
    """sentence-transformers itself: what every export is measured against. Slow to load, and it brings torch."""

    def __init__(self, folder: Path) -> None:
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
    """The first twelve hexadecimal digits of the SHA-256 of a model's weights."""
    with (folder / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
