"""A made memory of some people, by seed: conversations, questions, and the turns that answer them.

Stands in for real conversations where those must not be: in the project and on a machine that has nothing else. It covers what ranking
must do, one category of questions for each; its figures say nothing about quality, only whether it changed. What changes here changes
the figures: record them anew.

A scene is written as lines. `name: a | b` are the values of a slot, another one in each version; of `name/other: a/x | b/y` those that belong
together. `A:`, `B:` who speaks, `[mark]` before it what a question points to; `{slot}`, `{one|other}` fill in; `---` ends a session; `? category mark: …` asks.
"""

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from textwrap import dedent

from msgspec import Struct

from bench.dataset import Dataset, Doc, Query, Scope
from tests.recall.chats import CHATS, SMALL_TALK
from tests.recall.logs import DAYS, LOGS, PREFERENCES, REPLIES, STANDING
from tests.recall.tongues import TONGUES

SEED = 20
# Of each scene in one memory.
_CHAT_VERSIONS, _LOG_VERSIONS = 4, 6
# Some conversations go from one matter to another: then the conversation alone does not tell.
_STAYS = 0.55
_FIRST_DAY = datetime(2025, 1, 6, 9, 0)  # noqa: DTZ001 (the files' times have no zone)
_PAIRS = (("Mira", "Jonas"), ("Tove", "Pavel"))
_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_NAMES = re.compile(r"[a-z][a-z0-9]*(?:/[a-z][a-z0-9]*)*")
_SLOT = re.compile(r"\{(\w+)\}")
_LINE = re.compile(r"(?:\[(?P<mark>\w+)\] )?(?P<who>[A-Z]): (?P<said>.*)")
_ASKED = re.compile(r"\? (?P<category>\w+) (?P<mark>\w+): (?P<text>.*)")


class _Scene(Struct, frozen=True):
    slots: dict[str, list[str]]
    lines: list[str]


class _Teller:
    """Writes one memory: its turns so far, its questions, the day it has come to."""

    def __init__(self, scope: str, people: Sequence[str], rng: random.Random) -> None:
        self._scope = scope
        self._people = people
        self._rng = rng
        self._day = _FIRST_DAY
        self._session = 0
        self._docs: list[Doc] = []
        self._asked: list[tuple[str, str, str]] = []

    def next_day(self) -> None:
        self._session += 1
        self._day += timedelta(days=self._rng.randint(1, 4))

    def say(self, who: str, text: str) -> str:
        """The id of the turn."""
        number = len(self._docs)
        moment = self._day + timedelta(minutes=number % 480)
        self._docs.append(
            Doc(f"t{number}", f"s{self._session}", number, who, moment.isoformat(), text)
        )
        return f"t{number}"

    def ask(self, category: str, text: str, answer: str) -> None:
        self._asked.append((category, text, answer))

    def play(self, scene: _Scene, version: int) -> None:
        """One version of a scene, either of the two beginning it."""
        people = dict(zip("AB", self._rng.sample(self._people, 2), strict=True))
        people |= {"U": "user", "S": "assistant"}
        given: dict[str, str] = {}
        for names, values in scene.slots.items():
            value = values[version % len(values)]
            given |= zip(names.split("/"), value.split("/"), strict=True)
        marks: dict[str, str] = {}
        questions = []
        for line in scene.lines:
            if line == "---":
                self.next_day()
            elif asked := _ASKED.fullmatch(line):
                questions.append(asked)
            else:
                spoken = _LINE.fullmatch(line)
                assert spoken, line
                said = self._filled(spoken["said"], given | people)
                turn = self.say(people[spoken["who"]], said[0].upper() + said[1:])
                if spoken["mark"]:
                    marks[spoken["mark"]] = turn
        for asked in questions:
            text = self._filled(asked["text"], given | people)
            self.ask(asked["category"], text, marks[asked["mark"]])

    def small_talk(self, lines: Sequence[str]) -> None:
        for line, who in zip(lines, itertools.cycle(self._people), strict=False):
            self.say(who, self._filled(line, {}))

    def told(self) -> Scope:
        return Scope(
            self._scope,
            self._docs,
            [
                Query(f"{self._scope}/q{number}", text, category, [answer])
                for number, (category, text, answer) in enumerate(self._asked)
            ],
        )

    def _filled(self, text: str, given: dict[str, str]) -> str:
        given = given | {
            "date": f"{self._day:%-d %B %Y}",
            "near": f"{self._day + timedelta(days=self._rng.choice((-2, -1, 1, 2))):%-d %B %Y}",
            "month": f"{self._day:%B}",
        }
        # Slots first: a choice may hold one, and so may a slot.
        while _SLOT.search(text):
            text = _SLOT.sub(lambda slot: given[slot[1]], text)
        return _CHOICE.sub(lambda choice: self._rng.choice(choice[1].split("|")), text)


def corpus(seed: int = SEED) -> Dataset:
    rng = random.Random(seed)
    chats = [_chat(f"chat{number}", pair, rng) for number, pair in enumerate(_PAIRS)]
    return Dataset("made", [*chats, _log(rng), _tongues(rng)])


def _chat(scope: str, people: Sequence[str], rng: random.Random) -> Scope:
    teller = _Teller(scope, people, rng)
    for scene, version in _shuffled(CHATS, _CHAT_VERSIONS, rng):
        if rng.random() > _STAYS:
            teller.next_day()
        start = rng.randrange(0, len(SMALL_TALK), 2)
        teller.small_talk(SMALL_TALK[start : start + rng.choice((0, 2, 4))])
        teller.play(scene, version)
    return teller.told()


def _log(rng: random.Random) -> Scope:
    teller = _Teller("log", ("user", "assistant"), rng)
    lasting = [
        (category, said, questions)
        for category, table in (("standing", STANDING), ("preference", PREFERENCES))
        for said, questions in table.items()
    ]
    rng.shuffle(lasting)
    for number, (scene, version) in enumerate(_shuffled(LOGS, _LOG_VERSIONS, rng)):
        teller.next_day()
        teller.play(scene, version)
        teller.small_talk([rng.choice(DAYS), rng.choice(REPLIES)])
        if number % 2 == 0 and lasting:
            category, said, questions = lasting.pop()
            teller.next_day()
            answer = teller.say("user", said)
            teller.say("assistant", "I'll keep to that.")
            for question in questions:
                teller.ask(category, question, answer)
    assert not lasting
    return teller.told()


def _tongues(rng: random.Random) -> Scope:
    teller = _Teller("tongues", ("Ayla", "Bruno"), rng)
    said = [pair for pairs in TONGUES.values() for pair in pairs]
    rng.shuffle(said)
    for number, (text, question) in enumerate(said):
        if number % 8 == 0:
            teller.next_day()
        teller.ask("language", question, teller.say(("Ayla", "Bruno")[number % 2], text))
    return teller.told()


def _shuffled(
    texts: Sequence[str], versions: int, rng: random.Random
) -> Iterator[tuple[_Scene, int]]:
    """Every scene in so many versions, in any order; which values come together differs between memories."""
    scenes = [_read(text) for text in texts]
    for scene in scenes:
        for values in scene.slots.values():
            rng.shuffle(values)
    order = [(scene, version) for scene in scenes for version in range(versions)]
    rng.shuffle(order)
    yield from order


def _read(text: str) -> _Scene:
    slots: dict[str, list[str]] = {}
    lines = []
    for line in dedent(text).strip().splitlines():
        names, _, values = line.partition(": ")
        if _NAMES.fullmatch(names):
            slots[names] = slots.get(names, []) + values.split(" | ")
        else:
            lines.append(line)
    return _Scene(slots, lines)
