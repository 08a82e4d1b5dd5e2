"""Recall with the real model does not get worse unnoticed: a made memory, stored and asked for real, beside recorded figures."""

import msgspec

from bench import regression
from bench.progress import Progress
from tests.recall.corpus import corpus
from tests.recall.record import FIGURES, SECONDS

_TO_RECORD = (
    "If this is meant (better, or worse for a reason that the commit tells), record it: "
    "python -m tests.recall.record [--accept-loss]"
)


def test_recall_finds_in_a_made_memory_what_it_found_before() -> None:
    made = corpus()
    before = regression.recorded(FIGURES, made)

    measured = regression.figures(made, Progress(SECONDS))

    lost = [
        f"{bar.name} is {100 * bar.value:.2f}, at least {100 * bar.bar:.2f} is wanted"
        for bar in regression.bars_of("made", before, measured)
        if not bar.holds
    ]
    moved = ["Moved since " + before.commit + ":", *regression.changes(before.figures, measured)]
    assert not lost, "\n".join([*lost, *moved, _TO_RECORD])


def test_the_made_memory_is_the_same_every_time() -> None:
    assert corpus() == corpus()
    assert corpus() != corpus(seed=1)


def test_every_question_has_its_answer_and_no_other_memorys() -> None:
    for scope in corpus().scopes:
        turns = {doc.id for doc in scope.docs}
        assert len(turns) == len(scope.docs)
        assert all(query.evidence and set(query.evidence) <= turns for query in scope.queries)
        texts = [doc.text for doc in scope.docs] + [query.text for query in scope.queries]
        assert not [text for text in texts if "{" in text or "|" in text]


def test_the_recorded_figures_leave_room_to_fall_and_to_rise() -> None:
    figures = msgspec.json.decode(FIGURES.read_bytes(), type=dict[str, regression.Recorded])["made"]

    assert sum(figures.figures.questions.values()) >= 200
    assert 0.75 <= figures.figures.overall["any@10"] <= 0.95
