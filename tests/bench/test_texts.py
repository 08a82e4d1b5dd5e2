"""Made-up memories are repeatable, distinct and of varied length; nothing else is asked of them."""

from collections import Counter
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


def test_lengths_and_words_are_like_those_of_chats() -> None:
    made = list(islice(texts.turns(1), 4000))
    answers = [len(turn["text"]) for turn in made if "role" in turn]
    sayings = sorted(len(turn["text"]) for turn in made if "role" not in turn)

    assert 0.1 < len(answers) / len(made) < 0.15
    assert sum(answers) / len(answers) > 400
    assert 60 < sayings[len(sayings) // 2] < 200
    words = Counter(word for turn in made for word in turn["text"].split())
    assert sum(count == 1 for count in words.values()) > len(words) / 3
    assert len({turn["speaker"] for turn in made}) > 50
