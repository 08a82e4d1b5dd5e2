"""Tokens against tokens: what is kept of them, and how they are compared."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mcp_server import search
from mcp_server.device import Device
from mcp_server.forgetting import chosen, erase, traces
from mcp_server.index import late
from mcp_server.index.embedder import TOKEN_DIMS, OnnxEmbedder
from mcp_server.memory import present
from mcp_server.search import Asked
from mcp_server.vault import vector_store
from tests.builders import opened, tell, until
from tests.fakes import HashEmbedder

STATES = arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.just(TOKEN_DIMS)),
    elements=st.floats(-1, 1, width=32),
)


def kept(device: Device) -> list[int]:
    with device.vault.reading() as db:
        return [row for (row,) in db.execute("SELECT memory FROM token_codes ORDER BY memory")]


@given(STATES)
def test_a_token_is_eight_bytes_and_decodes_to_what_encodes_the_same(states: np.ndarray) -> None:
    code = late.encode(states)
    assert len(code) == 8 * len(states)
    decoded = late.decode(code)
    assert np.allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-5)
    again = late.encode(decoded)
    # A token whose greatest step was the smaller one is stretched, once.
    assert late.encode(late.decode(again)) == again


def test_codes_keep_the_direction_of_a_token() -> None:
    states = np.random.default_rng(3).normal(size=(500, TOKEN_DIMS)).astype(np.float32)
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    assert (late.decode(late.encode(unit)) * unit).sum(axis=1).mean() > 0.85


def test_each_of_the_questions_tokens_counts_by_its_nearest() -> None:
    axes = np.eye(TOKEN_DIMS, dtype=np.float32)
    question = axes[:2]
    both, one, none = late.best_matches(
        question, [late.encode(axes[[5, 1, 0]]), late.encode(axes[[0, 7]]), b""]
    )
    assert both > one > none == 0


@given(STATES, st.lists(STATES, max_size=4))
def test_a_score_does_not_depend_on_what_else_is_scored(
    question: np.ndarray, memories: list[np.ndarray]
) -> None:
    codes = [late.encode(each) for each in memories]
    together = late.best_matches(question, codes)
    alone = [late.best_matches(question, [code])[0] for code in codes]
    assert np.allclose(together, alone, atol=1e-5)


def test_words_that_only_ask_do_not_count(onnx: OnnxEmbedder) -> None:
    text = "What did I say about Hamburg?"
    naming = late.naming(text, onnx.question_tokens(text))
    alone = onnx.question_tokens(text).states
    assert 0 < len(naming) < len(alone)


def test_tokens_of_one_meaning_are_nearer_than_others(onnx: OnnxEmbedder) -> None:
    question = late.naming("car", onnx.question_tokens("car"))
    same, other = late.best_matches(
        question,
        [late.encode(onnx.tokens(text).states) for text in ("my automobile", "boiled rice")],
    )
    assert same > other + 0.1


def test_tokens_are_kept_only_while_late_interaction_is_on(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "the harbour at dusk", "boiled rice")
        assert kept(device) == []
    with opened(tmp_path, keep_tokens=True) as device:
        until(lambda: kept(device) == [1, 2])
        tell(device, "a third one")
        until(lambda: kept(device) == [1, 2, 3])
    with opened(tmp_path) as device:
        assert kept(device) == []


def test_with_late_interaction_the_answer_says_that_tokens_matched(tmp_path: Path) -> None:
    with opened(tmp_path, keep_tokens=True) as device:
        tell(device, "the harbour at dusk", "boiled rice", "a harbour museum")
        until(lambda: kept(device) == [1, 2, 3])
        with device.vault.reading() as db:
            asked = HashEmbedder().question_tokens("harbour").states
            found = late.scores(asked, db, np.array([1, 2, 3, 99]))
        assert found[0] > 0.4
        assert found[2] > 0.4
        assert found[3] == 0
        answer = search.find(device, Asked(query="harbour dusk"), client="test")
        assert answer.found[0].memory.text == "the harbour at dusk"


def test_forgetting_takes_the_tokens_along(tmp_path: Path) -> None:
    with opened(tmp_path, keep_tokens=True) as device:
        stored = tell(device, "the harbour at dusk", "boiled rice")
        until(lambda: kept(device) == [1, 2])
        with device.vault.reading() as db:
            row = present(db, stored[0].id)
            code = vector_store.tokens_of(db, [row.row])[row.row]
        assert code in traces(device, [row]).pieces
        erase(device, chosen(device, ids=[stored[0].id]), client="test")
        assert kept(device) == [2]
