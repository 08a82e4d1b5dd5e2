"""Texts into vectors. The served model is a quantised ONNX export, without torch and without a network.

`Embedder` is a port: the shipped one here, the reference that the export is checked against, and a deterministic fake in tests.
"""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.index.quiet import forbid_telemetry
from shared.errors import UnavailableError

ABOUT = "about.json"
TOKEN_DIMS = 32
# Outputs of an export.
_VECTOR, _STATES = "embedding", "states"
_MEMORY_PROMPTS = ("document", "passage", "corpus")


class Embedder(Protocol):
    model_id: str
    """Names the weights and their quantisation; vectors of another model are never compared with these."""
    dim: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Normalised vectors of memories, one row for each text, in order."""

    def embed_question(self, question: str) -> NDArray[np.float32]:
        """The normalised vector of a question. Some models want to be told which of the two a text is."""

    def tokens(self, text: str) -> "Tokens":
        """A memory's tokens, each with what it means in its sentence; for late interaction."""

    def question_tokens(self, question: str) -> "Tokens":
        """The same of a question."""


class Tokens(Struct, frozen=True, eq=False):
    """A text as the model read it, token by token, without the marks around it."""

    spans: tuple[tuple[int, int], ...]
    """Where each token stands in the text."""
    states: NDArray[np.float32]
    """(tokens, TOKEN_DIMS), normalised: turned onto their main axes and cut, which costs no recall that could be measured."""


class About(Struct, frozen=True, kw_only=True):
    """What an export says of itself, in its folder."""

    model_id: str
    dim: int
    tokens_max: int
    """Of a longer text, so many of its first tokens are read."""
    question_prompt: str
    """What the model wants before a question; nearly always nothing."""
    memory_prompt: str
    """What it wants before everything else."""
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
        self._question_prompt = made.question_prompt
        self._memory_prompt = made.memory_prompt
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

    def embed_question(self, question: str) -> NDArray[np.float32]:
        return self._run(_VECTOR, self._tokenizer.encode(self._question_prompt + question))

    def tokens(self, text: str) -> Tokens:
        return self._tokens(self._memory_prompt, text)

    def question_tokens(self, question: str) -> Tokens:
        return self._tokens(self._question_prompt, question)

    def _vector(self, text: str) -> NDArray[np.float32]:
        return self._run(_VECTOR, self._tokenizer.encode(self._memory_prompt + text))

    def _tokens(self, prompt: str, text: str) -> Tokens:
        encoded = self._tokenizer.encode(prompt + text)
        before = len(prompt)
        kept = [
            place
            for place, (start, end) in enumerate(encoded.offsets)
            if not encoded.special_tokens_mask[place] and before <= start < end
        ]
        spans = [encoded.offsets[place] for place in kept]
        return Tokens(
            tuple((start - before, end - before) for start, end in spans),
            self._run(_STATES, encoded)[kept],
        )

    def _run(self, output: str, encoded: Any) -> NDArray[np.float32]:
        given = {
            "input_ids": encoded.ids,
            "attention_mask": encoded.attention_mask,
            "token_type_ids": encoded.type_ids,
        }
        feed = {name: np.array([given[name]], np.int64) for name in self._inputs}
        (found,) = self._session.run([output], feed)  # what is not asked for is not computed
        return np.asarray(found[0], np.float32)


def about(folder: Path) -> About:
    return msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)


class ReferenceEmbedder:
    """sentence-transformers itself: what every export is measured against. Slow to load, and it brings torch. It has vectors only."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():  # or the name would be looked for on a hub
            raise UnavailableError(f"There is no model in {folder}.")
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (five seconds and 700 MB)

        self._model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self.model_id = f"{folder.name}/reference/{weights_hash(folder)}"
        self.dim = int(self._model.get_embedding_dimension() or 0)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        prompt = memory_prompt(self._model.prompts)
        return self._encoded(list(texts), prompt).reshape(len(texts), self.dim)

    def embed_question(self, question: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self._encoded(
            [question], question_prompt(self._model.prompts)
        )[0]
        return vector

    def _encoded(self, texts: list[str], prompt: str) -> NDArray[np.float32]:
        # Said also where it is empty, or else the model's default prompt would count.
        vectors = self._model.encode(
            texts, prompt=prompt, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


def question_prompt(prompts: Mapping[str, str]) -> str:
    """What a sentence-transformers model wants before a question, by the name that its makers use for it."""
    return prompts.get("query") or ""


def memory_prompt(prompts: Mapping[str, str]) -> str:
    """What it wants before a text that is to be found."""
    return next((prompts[name] for name in _MEMORY_PROMPTS if prompts.get(name)), "")


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
