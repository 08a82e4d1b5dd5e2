"""What a new memory has to do with an old one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.noticing import Relation, may_be_stated, relation

PAIRS: dict[str, tuple[str, str, float, Relation | None]] = {
    "the same words": ("Ann likes tea", "Ann likes tea", 0.0, "near_duplicate"),
    "the same words in capitals": ("ANN likes TEA", "Ann likes tea.", 0.0, "near_duplicate"),
    "a paraphrase": ("the car broke down", "our vehicle stopped working", 0.95, "near_duplicate"),
    "just below": ("the car broke down", "our vehicle stopped working", 0.91, None),
    "nothing in common": ("the car broke down", "tea is green", 0.1, None),
    "related": ("the car broke down", "we bought the car", 0.7, None),
    "another number": ("The rent is 900 a month", "The rent is 850 a month", 0.9, "may_contradict"),
    "another time": ("standup at 9:30", "standup at 10:00", 0.9, "may_contradict"),
    "one number shared": ("2 cats since 2019", "3 cats since 2019", 0.95, "may_contradict"),
    "another day": ("The dentist is on Monday", "The dentist is on Friday", 0.9, "may_contradict"),
    "other things on other days": ("flew to Oslo on 3 May", "flew to Rome on 9 June", 0.7, None),
    "moved": ("I moved to Oslo", "I live in Rome", 0.4, "may_supersede"),
    "is now": ("My favourite tea is now oolong", "My favourite tea is sencha", 0.8, "may_supersede"),
    "no longer": ("I no longer eat meat", "I eat meat", 0.9, "may_supersede"),
    "switched": ("We switched from Rust to Go", "We use Rust here", 0.6, "may_supersede"),
    "told again, the old way": ("I live in Rome", "I moved to Oslo", 0.4, "may_contradict"),
    "a thing of the past": ("I used to live in Rome", "I live in Oslo", 0.8, None),
    "two tastes": ("I like tea", "I like coffee", 0.8, None),
    "called otherwise": ("The boat is called Ida", "The boat is called Nora", 0.8, "may_contradict"),
    "a paraphrase with few words in common": ("Ann has a small dog", "Ann owns a little dog", 0.88, "near_duplicate"),
    "never done": ("I've never deployed the parser service, by the way. Help me.", "Thanks. I deployed the parser service in May.", 0.7, "may_contradict"),
    "counted anew in a long text": ("Hello there. Our gallery of project cards has grown to 10 cards in all. Help?", "Our project gallery shows 8 cards now. Nice.", 0.7, "may_supersede"),
    "a number on one side": ("two cats and 1 dog", "two cats and a dog", 0.95, "near_duplicate"),
    "the other way round": ("I eat meat", "I never eat meat", 0.9, "may_contradict"),
    "a curly apostrophe": ("I don’t eat meat", "I do eat meat", 0.9, "may_contradict"),
    "both negated": ("I never eat meat", "I don't eat meat", 0.93, "near_duplicate"),
    "another ending": ("Ann lives in Rome", "Ann lives in Oslo", 0.8, "may_contradict"),
    "a longer ending": ("Ann lives in Rome", "Ann lives in Rome, Italy", 0.93, "near_duplicate"),
    "of somebody else": ("Bob lives in Rome", "Ann lives in Oslo", 0.8, None),
    "no cosine, half the words": ("Ann lives in Rome", "Ann lives in Oslo", 0.0, "may_contradict"),
    "unrelated numbers": ("the rent is 900", "flight 123 to Oslo", 0.1, None),
    "another boss": ("My boss is Beatriz Nogueira now; Henrique retired.", "My boss is Henrique Sampaio.", 0.7, "may_supersede"),
    "another boss, in two sentences": ("My boss is Beatriz Nogueira now. Henrique retired.", "My boss is Henrique Sampaio.", 0.7, "may_supersede"),
    "another gym": ("I changed gyms: it's now Solinca by the station", "My gym is Fitness Hut, on Mondays.", 0.7, "may_supersede"),
    "another car": ("I drive a Renault Zoe now, sold the Skoda.", "I drive a Skoda Octavia.", 0.8, "may_supersede"),
    "another rent": ("The rent is 1050 euros now", "Rent is 980 euros a month", 0.8, "may_supersede"),
    "a raised rent": ("The landlord raised the rent to 1,050 euros after the repairs", "Our rent is 980 euros a month", 0.7, "may_supersede"),
    "the same place, less exactly": ("I live in Italy now", "I live in Rome, Italy", 0.9, "near_duplicate"),
    "another buoy": ("Worker 7 note 15: buoy 715 drifted 15 metres", "Worker 7 note 14: buoy 714 drifted 14 metres", 0.97, None),
    "another shelf": ("Shelf 2 holds the tools", "Shelf 1 holds the tools", 0.97, None),
    "a shelf by its order": ("The 2nd shelf is for tools", "The 1st shelf is for books", 0.9, None),
    "another note": ("note during forget 2", "note during forget 1", 0.98, None),
    "another by its name": ("Buoy Beta drifted 15 metres", "Buoy Alpha drifted 14 metres", 0.9, None),
    "the same buoy": ("buoy 714 drifted 15 metres", "buoy 714 drifted 14 metres", 0.9, "may_contradict"),
    "an amount without a verb": ("Rent 1050 euros", "Rent 980 euros", 0.9, "may_contradict"),
    "a count behind a verb": ("I run 12 kilometres", "I run 10 kilometres", 0.9, "may_contradict"),
    "a time of a noun": ("Standup 10:00 in the kitchen", "Standup 9:30 in the kitchen", 0.9, "may_contradict"),
    "empty": ("", "", 0.0, None),
}  # fmt: skip


@pytest.mark.parametrize(("new", "old", "cosine", "expected"), PAIRS.values(), ids=PAIRS)
def test_two_statements_stand_as_a_person_would_say(
    new: str, old: str, cosine: float, expected: Relation | None
) -> None:
    assert relation(new, old, cosine) == expected


said = st.text(max_size=80) | st.lists(
    st.sampled_from("Ann Bob is not lives in never don't likes 3 4 tea Rome .".split()), max_size=8
).map(" ".join)


@given(said, said, st.floats(-1, 1))
def test_whether_there_is_anything_to_decide_does_not_depend_on_which_was_first(
    one: str, two: str, cosine: float
) -> None:
    there, back = relation(one, two, cosine), relation(two, one, cosine)
    assert (there == "near_duplicate") == (back == "near_duplicate")
    assert (there is None) == (back is None)


@given(said.filter(lambda text: any(each.isalnum() for each in text)))
def test_the_same_again_is_the_same(text: str) -> None:
    assert relation(text, text, 1.0) == "near_duplicate"
    assert relation(text, text, 0.0) == "near_duplicate"


def test_a_very_long_text_is_no_trouble() -> None:
    assert relation("is " * 300_000, "was " * 300_000, 0.0) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I live in Oslo now", True),
        ("we've moved the meeting to Friday", True),
        ("Thanks!", False),
        ("What is my address?", False),
        ("The capital of Norway is Oslo", False),
    ],
)
def test_turns_are_worth_comparing_if_a_person_speaks_of_their_own(
    text: str, expected: bool
) -> None:
    assert may_be_stated(text) == expected
