"""Duplicates, contradictions and updates noticed between two statements: precision and recall of each relation.

The pairs are made by a seeded generator; half of the subjects and wordings served to choose the thresholds, the figures are of the
other half. From recall files of the usual format, the evidence of questions about contradictions and updates is added, as recall only.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.dataset import load
from bench.progress import Progress
from bench.report import Bar, at_least
from mcp_server.index.embedder import Embedder, OnnxEmbedder
from mcp_server.index.entries import memory_text
from mcp_server.index.export import bundled_model_folder, export_in_child
from mcp_server.noticing import Relation, relation
from mcp_server.settings import load as settings

PAIRS_DEFAULT = 600
_CATEGORIES = ("contradiction_resolution", "knowledge_update")


class Pair(Struct, frozen=True):
    sort: str
    old: str
    new: str
    wanted: Relation | None
    """`may_contradict` and `may_supersede` stand for "the two cannot both be so": either counts as noticed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, help="recall files with such questions")
    parser.add_argument("--pairs", type=int, default=PAIRS_DEFAULT)
    parser.add_argument("--half", choices=("chosen_on", "held_out"), default="held_out")


async def measure(
    options: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Any], list[Bar]]:
    number = min(options.pairs, options.max or options.pairs)
    embedder = OnnxEmbedder(export_in_child(bundled_model_folder(), settings().model_cache))
    pairs = made(options.seed, number, half=options.half)
    said = [(pair, _relation(embedder, pair)) for pair in progress.over(pairs, "pairs")]
    duplicates = _figures([(p.wanted == "near_duplicate", r == "near_duplicate") for p, r in said])
    conflicts = _figures([(_conflict(p.wanted), _conflict(r)) for p, r in said])
    updates = _figures([(p.wanted == "may_supersede", r == "may_supersede") for p, r in said])
    results: dict[str, Any] = {
        "pairs": len(said),
        "near_duplicate": duplicates,
        "contradiction or update": conflicts,
        "may_supersede": updates,
        "as wanted, by sort": {
            sort: _share([_same(p.wanted, r) for p, r in said if p.sort == sort])
            for sort in sorted({pair.sort for pair, _ in said})
        },
    }
    for file in options.files:
        found = [
            (pair.sort, _conflict(_relation(embedder, pair)))
            for pair in progress.over(list(_from_file(file)), file.name)
        ]
        results[file.stem] = {
            sort: _share([hit for name, hit in found if name == sort])
            for sort in sorted({name for name, _ in found})
        }
    return results, [
        at_least("precision of near_duplicate", duplicates["precision"], 0.9),
        at_least("precision of contradiction or update", conflicts["precision"], 0.8),
        at_least("recall of near_duplicate", duplicates["recall"], 0.5),
        at_least("recall of contradiction or update", conflicts["recall"], 0.5),
    ]


def _relation(embedder: Embedder, pair: Pair) -> Relation | None:
    new, old = embedder.embed([memory_text(pair.new, None), memory_text(pair.old, None)])
    return relation(pair.new, pair.old, float(new @ old))


def _conflict(found: Relation | None) -> bool:
    return found in ("may_contradict", "may_supersede")


def _same(wanted: Relation | None, found: Relation | None) -> bool:
    return _conflict(found) if _conflict(wanted) else wanted == found


def _share(hits: list[bool]) -> float:
    return sum(hits) / max(1, len(hits))


def _figures(verdicts: list[tuple[bool, bool]]) -> dict[str, float]:
    right = sum(wanted and found for wanted, found in verdicts)
    return {
        "precision": right / max(1, sum(found for _, found in verdicts)),
        "recall": right / max(1, sum(wanted for wanted, _ in verdicts)),
    }


def _from_file(file: Path) -> Iterator[Pair]:
    """The person's turns among the evidence, each with the one before it; other questions' turns as unrelated pairs."""
    rng = random.Random(0)
    for scope in load(file).scopes:
        turns = {doc.id: doc for doc in scope.docs}
        mine = [doc.text for doc in scope.docs if doc.who == "user"]
        for query in scope.queries:
            said = [turns[each].text for each in query.evidence if turns[each].who == "user"]
            if query.cat in _CATEGORIES and len(said) >= 2:
                yield Pair(query.cat, said[0], said[-1], "may_contradict")
                one, two = rng.sample(mine, 2)
                yield Pair("two turns by chance, noticed", one, two, None)


def made(seed: int, number: int, *, half: str) -> list[Pair]:
    """Labelled pairs; the halves share neither a subject nor a wording."""
    rng = random.Random(f"{seed} {half}")
    words = _WORDS[half]
    makers = (
        _paraphrase,
        _restated,
        _other_fact,
        _negated,
        _number,
        _update,
        _state,
        _unrelated,
        _alike,
    )
    return [makers[at % len(makers)](rng, words) for at in range(number)]


def _paraphrase(rng: random.Random, words: dict[str, Any]) -> Pair:
    old, new = rng.choice(words["paraphrases"])
    name = rng.choice(words["names"])
    return Pair("paraphrase", old.format(name), new.format(name), "near_duplicate")


def _restated(rng: random.Random, words: dict[str, Any]) -> Pair:
    text = _fact(rng, words)
    new = rng.choice(
        (
            f"Note: {text}",
            text.upper(),
            f"{text}!",
            f"Just so you know, {text}",
            f"{text} (as I said)",
        )
    )
    return Pair("restated", text, new, "near_duplicate")


def _other_fact(rng: random.Random, words: dict[str, Any]) -> Pair:
    name = rng.choice(words["names"])
    old, new = rng.sample(words["facts"], 2)
    return Pair("same person, other fact", old.format(name), new.format(name), None)


def _negated(rng: random.Random, words: dict[str, Any]) -> Pair:
    pair = rng.choice(words["negations"])
    name = rng.choice(words["names"])
    old, new = rng.sample([each.format(name) for each in pair], 2)
    return Pair("negation", old, new, "may_contradict")


def _number(rng: random.Random, words: dict[str, Any]) -> Pair:
    form = rng.choice(words["numbers"])
    one, two = rng.sample(range(2, 29), 2)
    return Pair("number", form.format(one), form.format(two), "may_contradict")


def _update(rng: random.Random, words: dict[str, Any]) -> Pair:
    old, new, values = rng.choice(words["updates"])
    one, two = rng.sample(words[values], 2)
    return Pair("update", old.format(one), new.format(two, one), "may_supersede")


def _state(rng: random.Random, words: dict[str, Any]) -> Pair:
    form, values = rng.choice(words["states"])
    one, two = rng.sample(words[values], 2)
    name = rng.choice(words["names"])
    return Pair("state", form.format(name, one), form.format(name, two), "may_contradict")


def _unrelated(rng: random.Random, words: dict[str, Any]) -> Pair:
    old, new = rng.sample(words["facts"], 2)
    one, two = rng.sample(words["names"], 2)
    return Pair("unrelated", old.format(one), new.format(two), None)


def _alike(rng: random.Random, words: dict[str, Any]) -> Pair:
    """Much the same words, and both true."""
    old, new = rng.choice(words["alike"])
    return Pair("alike, both true", old, new, None)


def _fact(rng: random.Random, words: dict[str, Any]) -> str:
    return str(rng.choice(words["facts"])).format(rng.choice(words["names"]))


_WORDS: dict[str, dict[str, Any]] = {
    "chosen_on": {
        "alike": [
            ("My sister likes tea", "My sister likes coffee"), ("My boss lives in Oslo", "My brother lives in Rome"),
            ("I flew to Oslo on 3 May", "I flew to Rome on 9 June"), ("The blue mug costs 5 euros", "The red plate costs 9 euros"),
            ("My brother speaks German", "My brother speaks Dutch"), ("I met Ann on Monday for lunch", "I met Bob on Tuesday for a walk"),
            ("I used to work at the bakery", "I work at the university"), ("My car is a Volvo", "My bike is a Gazelle"),
        ],
        "names": ["my sister", "my brother", "the neighbour", "my boss"],
        "cities": ["Lisbon", "Oslo", "Rome", "Dublin", "Vienna"],
        "firms": ["the bakery", "the city hospital", "a shipping company", "the university"],
        "things": ["green tea", "black coffee", "lemonade", "hot chocolate"],
        "paraphrases": [
            ("{} has a small dog", "{} owns a little dog"),
            ("{} bought a new car last week", "last week {} got a new car"),
            ("{} is allergic to peanuts", "peanuts trigger an allergy for {}"),
            ("{} enjoys hiking in the mountains", "{} likes to hike in the mountains"),
            ("{} works from home on Fridays", "on Fridays {} works at home"),
        ],
        "facts": [
            "{} plays the violin in an orchestra", "{} grows tomatoes on the balcony", "{} has two children",
            "{} was born in a village near the sea", "{} reads crime novels", "{} rides a bike to the office",
            "{} had an operation on the knee in spring", "{} collects old stamps", "{} likes spicy food",
            "{} speaks Spanish and a little Greek", "{} booked a hotel in Porto for May", "{} repairs clocks as a hobby",
        ],
        "negations": [
            ("{} eats meat", "{} does not eat meat"), ("{} can swim", "{} can't swim"),
            ("{} has a driving licence", "{} doesn't have a driving licence"), ("{} drinks alcohol", "{} never drinks alcohol"),
            ("I have used Docker in this project", "I have never used Docker in this project"),
        ],
        "numbers": [
            "The rent is {}00 euros a month", "The standup begins at {}:30", "The team has {} people", "The deadline is {} April",
            "I run {} kilometres every Sunday", "The medication is {} mg a day",
        ],
        "updates": [
            ("I live in {}", "I moved to {}", "cities"), ("I live in {}", "I no longer live in {1}, now I live in {0}", "cities"),
            ("I work at {}", "I now work for {}", "firms"), ("My favourite drink is {}", "My favourite drink is now {}", "things"),
            ("I drink {} every morning", "I switched from {1} to {0}, which I drink every morning", "things"),
        ],
        "states": [("{} lives in {}", "cities"), ("{} works at {}", "firms"), ("The favourite drink of {} is {}", "things")],
    },
    "held_out": {
        "alike": [
            ("Maria likes olives", "Maria likes cheese"), ("My cousin lives in Lima", "My aunt lives in Cairo"),
            ("I ran 10 kilometres on Sunday", "I swam 2 kilometres on Friday"), ("The lamp in the hall is broken", "The lamp in the kitchen is new"),
            ("Tom speaks French", "Tom speaks Italian"), ("I paid 30 euros for the ticket", "I paid 12 euros for the lunch"),
            ("I used to live in Toronto", "I live in Kyoto"), ("The dog is called Rex", "The cat is called Luna"),
        ],
        "names": ["my cousin", "Maria", "the landlord", "our accountant", "Tom"],
        "cities": ["Hamburg", "Kyoto", "Toronto", "Lima", "Cairo"],
        "firms": ["a law firm", "the post office", "a software company", "the museum"],
        "things": ["Python", "Rust", "Kotlin", "Haskell"],
        "paraphrases": [
            ("{} adopted a grey cat", "{} took in a cat that is grey"),
            ("{} takes the train to work", "{} goes to work by train"),
            ("{} cannot stand loud music", "{} hates music that is loud"),
            ("{} is learning to play the piano", "{} is taking piano lessons to learn to play"),
            ("{} sold the old house in autumn", "in autumn {} sold the old house"),
        ],
        "facts": [
            "{} keeps bees behind the garage", "{} studied chemistry", "{} has a twin", "{} sings in a choir on Tuesdays",
            "{} is afraid of flying", "{} wears glasses for reading", "{} won a chess tournament", "{} bakes sourdough bread",
            "{} broke an arm while skiing", "{} wants to learn Japanese", "{} met the mayor at a concert", "{} prefers window seats",
        ],
        "negations": [
            ("{} smokes", "{} doesn't smoke"), ("{} is married", "{} is not married"),
            ("{} has been to Iceland", "{} has never been to Iceland"), ("{} likes olives", "{} does not like olives"),
            ("I've deployed the service to production", "I haven't deployed the service to production"),
        ],
        "numbers": [
            "The flight leaves at {}:15", "My insurance costs {}0 a year", "The course lasts {} weeks", "Our budget is {},000 dollars",
            "The dentist appointment is on {} June", "Test coverage is at {} percent",
        ],
        "updates": [
            ("My brother lives in {}", "My brother moved from {1} to {0}", "cities"), ("My office is in {}", "My office is now in {}", "cities"),
            ("I work for {}", "I quit {1} and started at {0}", "firms"), ("We use {} for the backend", "We switched to {} for the backend", "things"),
            ("My favourite language is {}", "My favourite language changed to {}", "things"),
        ],
        "states": [("{} is based in {}", "cities"), ("{} works for {}", "firms"), ("The favourite language of {} is {}", "things")],
    },
}  # fmt: skip
