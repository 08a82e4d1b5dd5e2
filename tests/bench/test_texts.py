"""Made-up memories are repeatable, distinct and of varied length; nothing else is asked of them."""

from itertools import islice

from bench import texts


def test_the_same_seed_gives_the_same_memories_and_questions() -> None:
    assert list(islice(texts.turns(3), 50)) == list(islice(texts.turns(3), 50))
    assert list(islice(texts.questions(3), 50)) == list(islice(texts.questions(3), 50))
    assert list(islice(texts.turns(3), 50)) != list(islice(texts.turns(4), 50))


def test_no_two_memories_have_the_same_text() -> None:
    said = [turn["text"] for turn in islice(texts.turns(1), 5000)]

    assert len(set(said)) == len(said)
    assert max(map(len, said)) > 3 * min(map(len, said))


def test_no_placeholder_is_left() -> None:
    said = [turn["text"] for turn in islice(texts.turns(1), 500)]
    said += islice(texts.questions(1), 500)

    assert not any("{" in text for text in said)
