"""A person's own cross-encoder, from its folder to the order of an answer. The model here is tiny and knows nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcp_server import search
from mcp_server.index.cross import CrossEncoder
from mcp_server.index.export import export_in_child
from mcp_server.search import Asked
from shared.errors import UnavailableError
from tests.builders import opened, tell, until

TEXTS = ["the harbour at dusk", "boiled rice", "a harbour museum", "no"]


def clock_of(*moments: float) -> Callable[[], float]:
    left = iter(moments)
    return lambda: next(left)


def frozen() -> float:
    return 0.0


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a tiny model of this kind as sentence-transformers would."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415 (seconds, which only these tests need)
        BertConfig,
        BertForSequenceClassification,
        PreTrainedTokenizerFast,
        set_seed,
    )

    def made(name: str, **config: Any) -> Path:
        folder = tmp_path_factory.mktemp("models") / name
        marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
        pieces = [*marks, *letters, *(f"##{letter}" for letter in letters)]
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        names = ("pad", "unk", "cls", "sep", "mask")
        special = {f"{key}_token": mark for key, mark in zip(names, marks, strict=True)}
        PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # transformers has no types here
            tokenizer_object=tokenizer, model_max_length=128, **special
        ).save_pretrained(folder)
        set_seed(7)
        usual = {
            "num_labels": 1,
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        }
        shape = BertConfig(
            vocab_size=len(pieces), intermediate_size=96, max_position_embeddings=128,
            initializer_range=0.4, **usual | config,
        )  # fmt: skip
        BertForSequenceClassification(shape).eval().save_pretrained(folder)  # type: ignore[no-untyped-call] # transformers has no types here
        return folder

    return made


@pytest.fixture(scope="module")
def cross(make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> CrossEncoder:
    return CrossEncoder(export_in_child(make("tiny"), tmp_path_factory.mktemp("cache"), "cross"))


def test_every_text_has_a_score_of_its_own(cross: CrossEncoder) -> None:
    scores = cross.scores("harbour", TEXTS, seconds_max=60, clock=frozen)
    assert len(set(scores.tolist())) == len(TEXTS)
    assert scores[2] == cross.scores("harbour", [TEXTS[2]], seconds_max=60, clock=frozen)[0]


def test_a_text_of_any_length_is_read(cross: CrossEncoder) -> None:
    scores = cross.scores("harbour " * 500, ["rice " * 500, ""], seconds_max=60, clock=frozen)
    assert np.isfinite(scores).all()


def test_when_time_is_up_the_rest_is_not_read_but_the_first_always_is(cross: CrossEncoder) -> None:
    clock = clock_of(0.0, 0.1, 0.9)
    assert len(cross.scores("harbour", TEXTS, seconds_max=0.3, clock=clock)) == 2
    assert len(cross.scores("harbour", TEXTS, seconds_max=0, clock=clock_of(0.0, 9.0))) == 1


def test_a_model_that_sorts_into_classes_is_refused(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UnavailableError, match="sorts into 3 classes"):
        export_in_child(make("classes", num_labels=3), tmp_path, "cross")


def test_the_first_of_an_answer_stand_in_the_order_of_the_cross_encoder_and_none_is_lost(
    tmp_path: Path, cross: CrossEncoder
) -> None:
    with opened(tmp_path / "fast") as device:
        tell(device, *TEXTS)
        asked = Asked(query="harbour museum at dusk")
        fast = search.find(device, asked, client="test").found
    with opened(tmp_path / "cross", cross=lambda: cross) as device:
        until(lambda: device.index.cross is not None)
        tell(device, *TEXTS)
        read = search.find(device, asked, client="test").found
    assert {each.memory.text for each in read} == {each.memory.text for each in fast}
    scores = [each.score for each in read]
    assert scores == sorted(scores, reverse=True)
    texts = [each.memory.text for each in read]
    judged = cross.scores(asked.query, texts, seconds_max=60, clock=frozen)
    before = {each.memory.text: each.score for each in fast}
    gained = [each.score - before[each.memory.text] for each in read]
    assert np.argmax(gained) == np.argmax(judged)


def test_a_cross_encoder_that_is_not_there_leaves_recall_as_it_was(tmp_path: Path) -> None:
    def missing() -> CrossEncoder:
        raise UnavailableError("There is no model in that folder.")

    with opened(tmp_path, cross=missing) as device:
        tell(device, *TEXTS)
        until(lambda: device.index.state().refused is not None)
        answer = search.find(device, Asked(query="rice"), client="test")
        assert answer.found[0].memory.text == "boiled rice"
        assert answer.searched == "full"
