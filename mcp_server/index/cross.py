"""A cross-encoder, which reads question and memory together: slow, and the best judge there is. A person's own; none is bundled.

Served from an ONNX export like the model that makes vectors (`index.export`), without torch. A question never waits for it longer
than it is told to: what it has not read by then keeps its place behind what it has.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcp_server.index.embedder import about
from mcp_server.index.quiet import forbid_telemetry

Seconds = Callable[[], float]
"""A monotonic clock."""


class CrossEncoder:
    """Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        forbid_telemetry()
        import onnxruntime  # noqa: PLC0415 (as in `embedder`)
        from tokenizers import Tokenizer  # noqa: PLC0415

        made = about(folder)
        self.model_id = made.model_id
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # A long question leaves room for the memory, and a long memory loses its end.
        self._tokenizer.enable_truncation(made.tokens_max, strategy="longest_first")
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [each.name for each in self._session.get_inputs()]

    def scores(
        self, question: str, texts: Sequence[str], *, seconds_max: float, clock: Seconds
    ) -> NDArray[np.float32]:
        """How well each text answers, in the model's own unit; of the first texts only, if time is up before the last."""
        began = clock()
        found: list[float] = []
        for text in texts:
            if found and clock() - began > seconds_max:
                break
            found.append(self._score(question, text))
        return np.array(found, np.float32)

    def _score(self, question: str, text: str) -> float:
        encoded = self._tokenizer.encode(question, text)
        given = {
            "input_ids": encoded.ids,
            "attention_mask": encoded.attention_mask,
            "token_type_ids": encoded.type_ids,
        }
        feed = {name: np.array([given[name]], np.int64) for name in self._inputs}
        (logits,) = self._session.run(None, feed)
        return float(logits[0, 0])
