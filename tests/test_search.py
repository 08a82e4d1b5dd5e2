"""Finding memories through an open device: what may come back, in how many words, and page by page."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcp_server import search
from mcp_server.device import Device
from mcp_server.forgetting import chosen, erase
from mcp_server.memory import Changes, revise, take_in
from mcp_server.model import Draft, Kind, Memory
from mcp_server.search import Answer, Asked, line, tokens
from mcp_server.vault import store
from mcp_server.when import Span, parse_span
from shared.errors import InvalidError
from tests.builders import (
    NOON,
    Gate,
    SetClock,
    draft,
    embedded,
    last_access,
    memory,
    new_id,
    opened,
    tell,
)
from tests.fakes import HashEmbedder, JudgedEmbedder


def ask(device: Device, query: str, **wanted: Any) -> Answer:
    return search.find(device, Asked(query=query, **wanted), client="test")


def texts(answer: Answer) -> list[str]:
    return [found.memory.text for found in answer.found]


def lines(answer: Answer) -> list[str]:
    return [search.line(found.memory, found.text) for found in answer.found]


def test_what_was_said_is_found_by_its_words_and_says_why(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "the harbour at dusk", "tea is green", "rent is due on Monday")
        answer = ask(device, "When is the rent due?")
        assert texts(answer)[0] == "rent is due on Monday"
        assert answer.found[0].why == "words"
        assert answer.found[0].score == max(found.score for found in answer.found)
        assert answer.searched == "full"
        assert answer.note is None


def test_meaning_finds_what_no_keyword_does(tmp_path: Path) -> None:
    class Thesaurus(HashEmbedder):
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return super().embed([text.replace("automobile", "car") for text in texts])

    with opened(tmp_path, model=Thesaurus) as device:
        tell(device, "the automobile broke", "tea is green")
        assert texts(ask(device, "car"))[0] == "the automobile broke"


@pytest.mark.parametrize("limit", [3, 50])
def test_a_question_that_nothing_is_about_says_so_and_shows_the_nearest(
    tmp_path: Path, limit: int
) -> None:
    with opened(tmp_path, model=JudgedEmbedder) as device:
        tell(device, *(f"harbour {number} at dusk and at dawn" for number in range(80)))
        embedded(device)
        answer = ask(device, "Which violin did grandmother play?", limit=limit)
        assert answer.note is not None
        assert answer.note.startswith("Nothing here seems to be about the question")
        spent = sum(tokens(line(found.memory, found.text)) + 1 for found in answer.found)
        assert len(answer.found) == limit or 700 < spent <= 800
        others = ask(
            device, "Which violin did grandmother play?", cursor=answer.cursor, limit=limit
        )
        assert not set(texts(answer)) & set(texts(others))
        assert ask(device, "harbour 3").note is None
        assert ask(device, "violin", spaces=("empty",)) == Answer((), None, "full", None)


def test_a_model_nobody_looked_at_judges_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, *(f"harbour {number}" for number in range(9)))
        embedded(device)
        answer = ask(device, "Which violin did grandmother play?")
        assert (len(answer.found), answer.note) == (9, None)


def test_an_empty_vault_has_an_empty_answer(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        assert ask(device, "anything") == Answer((), None, "full", None)


def test_a_question_without_a_word_still_answers(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "👍 agreed", "tea")
        assert len(ask(device, "👍?!").found) == 2


def test_a_recall_is_one_line_of_the_access_log(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        stored = tell(device, "the harbour", "tea")
        search.find(device, Asked(query="harbour", limit=1), client="assistant")
        access = last_access(device)
        assert (access.client, access.action, access.count) == ("assistant", "recall", 1)
        assert access.memories == (stored[0].id,)
        ask(device, "harbour", spaces=("nowhere",))
        assert (last_access(device).memories, last_access(device).count) == ((), 0)


@pytest.mark.parametrize(
    "wanted",
    [
        {"query": ""},
        {"query": " \n"},
        {"query": "x" * (search.QUERY_CHARS_MAX + 1)},
        {"query": "lone \ud800 surrogate"},
        {"query": "x", "max_tokens": 0},
        {"query": "x", "max_tokens": search.TOKENS_MAX + 1},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": search.RESULTS_MAX + 1},
        {"query": "x", "cursor": ""},
        {"query": "x", "cursor": "ü"},
        {"query": "x", "cursor": "bm90IGpzb24="},
        {"query": "x", "cursor": base64.urlsafe_b64encode(b'["x", -1]').decode()},
        {"query": "x", "cursor": base64.urlsafe_b64encode(b'["x", 1e9]').decode()},
        {"query": "x", "cursor": "A" * 100_001},
    ],
    ids=lambda wanted: str(wanted)[:50],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, wanted: dict[str, Any]) -> None:
    with opened(tmp_path, ready=False) as device, pytest.raises(InvalidError):
        search.find(device, Asked(**wanted), client="test")


@pytest.mark.parametrize(
    "other",
    [{"query": "tea"}, {"spaces": ("work",)}, {"kinds": ("fact",)}, {"speaker": "Ann"}, {"tags": ("a",)}],
    ids=str,
)  # fmt: skip
def test_a_cursor_of_another_question_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    with opened(tmp_path) as device:
        tell(device, "harbour one", "harbour two")
        cursor = ask(device, "harbour", limit=1).cursor
        assert cursor is not None
        assert len(cursor) < 60
        with pytest.raises(InvalidError, match="another question or other filters"):
            ask(device, **{"query": "harbour", "cursor": cursor} | other)
        # How much is wanted may change from page to page.
        assert len(ask(device, "harbour", cursor=cursor, limit=9, max_tokens=99).found) == 1


def test_a_cursor_beyond_the_end_is_an_empty_page(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "harbour one", "harbour two")
        cursor = ask(device, "harbour", limit=1).cursor
        assert cursor is not None
        mark, _ = msgspec.json.decode(base64.urlsafe_b64decode(cursor))
        far = base64.urlsafe_b64encode(msgspec.json.encode([mark, 2**62])).decode()
        assert ask(device, "harbour", cursor=far) == Answer((), None, "full", None)


LONG = "the harbour at dusk, " * 4


@pytest.mark.parametrize("max_tokens", [1, 30, 100, 1_000])
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_pages_hold_every_memory_once_within_their_budget(
    tmp_path: Path, max_tokens: int, limit: int
) -> None:
    with opened(tmp_path) as device:
        tell(device, *(LONG * (number % 4) + f"harbour {number}" for number in range(25)))
        embedded(device)
        pages: list[list[str]] = []
        cursor = None
        while True:
            answer = ask(device, "harbour", max_tokens=max_tokens, limit=limit, cursor=cursor)
            spent = sum(search.tokens(line) for line in lines(answer))
            assert spent <= max_tokens or len(answer.found) == 1
            assert 1 <= len(answer.found) <= limit
            pages.append(texts(answer))
            cursor = answer.cursor
            if cursor is None:
                break
        everything = [text for page in pages for text in page]
        assert everything == texts(ask(device, "harbour", max_tokens=50_000))
        assert len(everything) == len(set(everything)) == 25


spaces = st.sampled_from(["home", "work"])
tags = st.sampled_from(["red", "blue"])
hours = st.integers(-3, 3).map(lambda hour: NOON + timedelta(hours=hour))
maybe_hours = st.none() | hours
memories = st.builds(
    memory,
    st.integers(0, 5).map(lambda number: f"harbour number {number}"),
    id=st.uuids().map(str),
    space=spaces,
    kind=st.sampled_from(["fact", "note", "turn"]),
    tags=st.sets(tags).map(lambda some: tuple(sorted(some))),
    speaker=st.sampled_from([None, "Ann", "Bob"]),
    conversation=st.sampled_from([None, "talk"]),
    position=st.integers(0, 5),
    occurred_at=maybe_hours,
    valid_from=maybe_hours,
    valid_to=maybe_hours,
    archived=st.booleans(),
    superseded_by=st.none() | st.just(new_id()),
    created_at=hours,
).filter(lambda each: not (each.valid_from and each.valid_to) or each.valid_from < each.valid_to)
filters = st.fixed_dictionaries(
    {
        "spaces": st.none() | st.sets(spaces).map(tuple),
        "tags": st.none() | st.sets(tags).map(tuple),
        "kinds": st.none() | st.sets(st.sampled_from(get_args(Kind)), max_size=4).map(tuple),
        "when": st.none() | st.builds(Span, maybe_hours, maybe_hours),
        "as_of": maybe_hours,
        "speaker": st.sampled_from([None, "Ann", "Nobody"]),
    }
)


def passes(each: Memory, asked: Asked) -> bool:
    when = each.occurred_at or each.created_at
    at = asked.as_of or NOON
    since = asked.when.since if asked.when else None
    until = asked.when.until if asked.when else None
    return (
        (each.valid_to is None or at < each.valid_to)
        and (
            (each.valid_from or when) <= asked.as_of
            if asked.as_of
            else not each.archived and each.superseded_by is None
        )
        and (asked.spaces is None or each.space in asked.spaces)
        and set(asked.tags or ()) <= set(each.tags)
        and (asked.kinds is None or each.kind in asked.kinds)
        and (asked.speaker is None or each.speaker == asked.speaker)
        and (since is None or when >= since)
        and (until is None or when < until)
    )


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    stored=st.lists(memories, max_size=12, unique_by=lambda each: each.id),
    wanted=st.lists(filters, min_size=1, max_size=6),
)
def test_an_answer_is_all_that_passes_the_filters_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    stored: list[Memory],
    wanted: list[dict[str, Any]],
) -> None:
    gate = Gate()
    with opened(tmp_path_factory.mktemp("vault"), model=gate, ready=False) as device:
        if stored:
            take_in(device, stored, client="test")
        for ready in (False, True):
            if ready:
                gate.open()
                embedded(device)
            for each in wanted:
                asked = Asked(query="harbour", limit=200, max_tokens=50_000, **each)
                answer = search.find(device, asked, client="test")
                expected = {one.id for one in stored if passes(one, asked)}
                assert {found.memory.id for found in answer.found} == expected


def test_before_the_catalogue_is_there_the_same_filters_hold(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(
            device,
            draft("harbour at home", space="home", tags=("red",), kind="fact", speaker="Ann"),
            draft("harbour at work", space="work"),
            draft("harbour of old", space="home", valid_to=NOON),
        )
        device.index._listed = False  # what a question sees in the first moment after a start
        assert sorted(texts(ask(device, "harbour"))) == ["harbour at home", "harbour at work"]
        for wanted in (
            {"spaces": ("home",)},
            {"tags": ("red",)},
            {"kinds": ("fact",)},
            {"speaker": "Ann"},
        ):
            assert texts(ask(device, "harbour", **wanted)) == ["harbour at home"]
        assert texts(ask(device, "harbour", when=Span(NOON + timedelta(1), None))) == []
        assert texts(ask(device, "harbour", when=Span(None, NOON))) == []
        assert len(ask(device, "harbour", as_of=NOON - timedelta(days=1)).found) == 0
        assert ask(device, "harbour").found[0].why == "words"


def test_a_correction_is_found_and_what_it_corrected_only_as_of_then(tmp_path: Path) -> None:
    clock = SetClock()
    with opened(tmp_path, clock=clock) as device:
        (old,) = tell(device, draft("Ann lives in Rome", kind="fact"))
        before = clock.now
        clock.passes(days=30)
        revise(device, old.id, 1, Changes(text="Ann lives in Oslo"), client="test")
        clock.passes(days=30)
        assert texts(ask(device, "Where does Ann live?")) == ["Ann lives in Oslo"]
        then = before + timedelta(days=15)
        assert texts(ask(device, "Where does Ann live?", as_of=then)) == ["Ann lives in Rome"]
        assert texts(ask(device, "Where does Ann live?", as_of=clock.now)) == ["Ann lives in Oslo"]
        assert texts(ask(device, "Where does Ann live?", as_of=before - timedelta(1))) == []


def test_what_ends_leaves_recall_at_its_end(tmp_path: Path) -> None:
    clock = SetClock()
    with opened(tmp_path, clock=clock) as device:
        tell(device, draft("the harbour is closed", valid_to=NOON + timedelta(hours=1)))
        assert len(ask(device, "harbour").found) == 1
        clock.passes(hours=1)
        assert ask(device, "harbour").found == ()
        assert len(ask(device, "harbour", as_of=NOON).found) == 1


def test_a_time_in_words_narrows_a_question(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(
            device,
            draft("harbour yesterday", occurred_at=NOON - timedelta(days=1)),
            draft("harbour last year", occurred_at=NOON - timedelta(days=365)),
        )
        for said in ("yesterday", "last year"):
            found = ask(device, "harbour", when=parse_span(said, now=NOON))
            assert texts(found) == [f"harbour {said}"]


def test_a_date_named_in_the_question_prefers_what_was_said_then(tmp_path: Path) -> None:
    may = datetime(2023, 5, 8, tzinfo=UTC)
    with opened(tmp_path) as device:
        tell(
            device,
            *(
                draft(f"harbour visit {n}", occurred_at=may + timedelta(days=40 * n))
                for n in range(5)
            ),
        )
        assert (
            texts(ask(device, "Which harbour did we visit on 8 May 2023?"))[0] == "harbour visit 0"
        )


LAST_SPRING = datetime(2026, 4, 18, tzinfo=UTC)


def a_year(device: Device) -> None:
    """One memory of last spring among others; none of them says "spring"."""
    tell(
        device,
        draft("We sailed the Gaivota to Vigo", occurred_at=LAST_SPRING),
        draft("Last summer's holiday was in the Algarve", occurred_at=datetime(2025, 7, 20, tzinfo=UTC)),
        *(
            draft(f"note {number} on what we did", occurred_at=NOON - timedelta(days=number % 90))
            for number in range(900)
        ),
    )  # fmt: skip
    embedded(device)


@pytest.mark.parametrize(
    ("question", "when"),
    [
        ("What did I do last spring?", None),
        ("What happened in spring 2026?", None),
        ("Where did we sail last spring?", None),
        ("What did we do in April?", None),
        ("What did we do 7 months ago?", None),
        ("what did we do", "last spring"),
        ("what did we do last spring", "last spring"),
    ],
)
def test_a_question_about_a_time_brings_up_what_happened_then(
    tmp_path: Path, question: str, when: str | None
) -> None:
    with opened(tmp_path, model=JudgedEmbedder) as device:
        a_year(device)
        span = None if when is None else parse_span(when, now=NOON)
        answer = ask(device, question, when=span)
        assert texts(answer)[0] == "We sailed the Gaivota to Vigo"
        assert answer.note is None


@pytest.mark.parametrize(
    "question",
    [
        "Which violin did grandmother play?",
        "Which violin did grandmother play last spring?",
        "Which violin did grandmother play in spring 2026?",
        "What happened in spring 2019?",
    ],
)
def test_a_time_alone_makes_nothing_be_about_a_question(tmp_path: Path, question: str) -> None:
    with opened(tmp_path, model=JudgedEmbedder) as device:
        a_year(device)
        assert ask(device, question).irrelevant


def test_of_a_time_in_which_much_happened_what_is_asked_for_comes_first(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        spring = [LAST_SPRING + timedelta(minutes=number) for number in range(600)]
        tell(device, *(draft(f"entry {n}", occurred_at=at) for n, at in enumerate(spring)))
        tell(device, draft("We sailed to Vigo", occurred_at=LAST_SPRING + timedelta(days=5)))
        embedded(device)
        tell(device, draft("We sailed to Faro", occurred_at=LAST_SPRING + timedelta(days=-500)))
        assert texts(ask(device, "Where did we sail last spring?"))[0] == "We sailed to Vigo"
        assert len(texts(ask(device, "What happened last spring?", limit=200))) == 200
        device.index._serving = None  # as long as the model loads
        assert texts(ask(device, "Where did we sail last spring?"))[0] == "We sailed to Vigo"


def test_no_question_about_a_date_is_too_far_away(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "harbour until 9999-12-31")
        assert len(ask(device, "harbour 9999-12-31 0000-00-00 31 February 2023").found) == 1


def test_a_forgotten_memory_is_found_no_more(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        stored = tell(device, "harbour one", "harbour two")
        erase(device, chosen(device, ids=[stored[0].id]), client="test")
        assert texts(ask(device, "harbour one")) == ["harbour two"]


def test_an_answer_is_of_the_moment_it_was_asked(tmp_path: Path) -> None:
    class Busy(HashEmbedder):
        """Forgets, moves and stores something while the question is being embedded."""

        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            if list(texts) == ["harbour"] and meanwhile:
                meanwhile.pop()()
            return super().embed(texts)

    meanwhile: list[Any] = []
    with opened(tmp_path, model=Busy) as device:
        stored = tell(device, *(draft(f"harbour {n}", space="home") for n in range(4)))

        def change() -> None:
            with device.changing() as changing:
                store.delete(changing.db, 1, stored[0].id)
                changing.then(lambda: device.index.remove([1]))
            revise(device, stored[1].id, 1, Changes(space="work"), client="other")
            tell(device, *(f"harbour later {n}" for n in range(900)))

        meanwhile.append(change)
        answer = ask(device, "harbour", spaces=("home",), limit=4)
        assert sorted(texts(answer)) == [f"harbour {n}" for n in range(4)]
        answer = ask(device, "harbour", spaces=("home",), limit=4)
        assert sorted(texts(answer)) == ["harbour 2", "harbour 3"]


def test_a_turn_stored_while_a_question_is_ranked_breaks_nothing(tmp_path: Path) -> None:
    class Busy(HashEmbedder):
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            if list(texts) == ["harbour"] and meanwhile:
                tell(device, meanwhile.pop())
            return super().embed(texts)

    meanwhile: list[Draft] = []
    with opened(tmp_path, model=Busy) as device:
        turns = [turn(number) for number in range(1_023)]
        for start in range(0, len(turns), 500):
            tell(device, *turns[start : start + 500])
        embedded(device)
        # The catalogue's columns are full now: the next row makes them grow, and stands beside the last.
        assert len(device.index.catalogue.columns["live"]) == 1_024
        meanwhile.append(turn(1_023))
        assert len(ask(device, "harbour").found) == 50


def turn(number: int) -> Draft:
    return draft(
        f"harbour {number}", kind="turn", conversation="talk", position=number, speaker="Ann"
    )
