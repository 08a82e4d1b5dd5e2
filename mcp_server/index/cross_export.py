"""How a cross-encoder becomes a graph, and whether the graph still says what the model says. Needs torch: see `index.export`."""

from pathlib import Path
from typing import Any

import numpy as np

from mcp_server.index.cross import CrossEncoder
from shared.errors import CorruptError, InvalidError

CORRELATION_MIN = 0.99
_TOKENS_MAX = 512
_SECONDS_MAX = 60.0  # of a check that takes less than one

_QUESTIONS = (
    "Where does Ann work?",
    "What did we decide about the database?",
    "allergies",
    "When is the dentist?",
)
_TEXTS = (
    "Ann moved to Hamburg in March 2024 because of her new job at the harbour museum.",
    "We decided to use PostgreSQL 18 with logical replication; Redis stays optional.",
    "Allergic to peanuts, penicillin and, mildly, to cats.",
    "The dentist appointment is on 2026-12-03 at 14:30, second floor.",
    "no",
)


def export_plain(model_folder: Path, target: Path, opset: int) -> dict[str, Any]:
    """The model with its one score as one graph; and what `About` says of it.

    Raises:
        InvalidError: it gives classes instead of a score.
    """
    import torch  # noqa: PLC0415 (only ever loaded in the child)

    reference = _reference(model_folder)
    if reference.model.config.num_labels != 1:
        raise InvalidError(
            f"The model in {model_folder} sorts into {reference.model.config.num_labels} classes. "
            "A cross-encoder for search gives one score."
        )
    tokens_max = min(
        _TOKENS_MAX,
        int(reference.tokenizer.model_max_length),
        int(getattr(reference.model.config, "max_position_embeddings", _TOKENS_MAX)),
    )
    features = reference.tokenizer(
        [_QUESTIONS[0]], [_TEXTS[0]], return_tensors="pt", truncation=True, max_length=tokens_max
    )
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features]

    class Whole(torch.nn.Module):  # type: ignore[misc] # torch is not followed
        def forward(self, *given: Any) -> Any:
            return reference.model(**dict(zip(names, given, strict=True))).logits

    whole = Whole().eval()
    whole.add_module("model", reference.model)
    torch.onnx.export(
        whole, tuple(features[name] for name in names), str(target), input_names=names, output_names=["score"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names}, opset_version=opset, dynamo=False,
    )  # fmt: skip
    return {"dim": 1, "tokens_max": tokens_max, "question_prompt": "", "memory_prompt": ""}


def check(model_folder: Path, made: Path) -> None:
    """Raises:
    CorruptError: the scores of the export do not rise and fall with those of the model.
    """
    served, reference = CrossEncoder(made), _reference(model_folder)
    said = np.concatenate(
        [served.scores(each, _TEXTS, seconds_max=_SECONDS_MAX, clock=_never) for each in _QUESTIONS]
    )
    meant = reference.predict(
        [(question, text) for question in _QUESTIONS for text in _TEXTS],
        activation_fn=_as_it_is(),
        show_progress_bar=False,
    )
    correlation = float(np.corrcoef(said, np.asarray(meant, np.float32))[0, 1])
    if not correlation >= CORRELATION_MIN:
        raise CorruptError(
            f"The exported cross-encoder strays from the original (correlation {correlation:.3f}). It is not used."
        )


def _reference(folder: Path) -> Any:
    from sentence_transformers import CrossEncoder as Reference  # noqa: PLC0415 (it brings torch)

    return Reference(str(folder), device="cpu", local_files_only=True)


def _as_it_is() -> Any:
    import torch  # noqa: PLC0415

    return torch.nn.Identity()


def _never() -> float:
    """A clock that stands still: a check is not hurried."""
    return 0.0
