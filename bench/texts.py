"""Made-up memories and questions about them: varied, repeatable by seed, and nobody's. Written for this purpose only.

What an index feels is modelled on real chats: a few people talk for a while, most turns are a sentence or two, one in eight is
an assistant's answer of several hundred characters, and the words follow Zipf's law with a long tail of rare ones.
"""

import itertools
import random
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split("|"))


PEOPLE = _listed(
    "Amira|Bram|Chiyo|Dario|Edda|Farid|Greta|Hamza|Ines|Jarek|Keiko|Lucia|Milan|Nadia|Otis|Priya|"
    "Quentin|Rosa|Sven|Tala|Umar|Vera|Wim|Xenia|Yusuf|Zora"
)
PLACES = _listed(
    "Aarhus|Bologna|Coimbra|Delft|Évora|Freiburg|Ghent|Haifa|Izmir|Jaipur|Kyoto|Lund|Malmö|Nantes|"
    "Oslo|Porto|Quito|Riga|Split|Tartu|Utrecht|Vigo|Wexford|York|Zadar"
)
THINGS = _listed(
    "bicycle|sourdough starter|rowing machine|allotment|violin|telescope|beehive|darkroom|loom|kayak|"
    "espresso grinder|greenhouse|terrarium|motorbike|pottery wheel|weather station|record player|"
    "sailing dinghy|sewing machine|chess clock"
)
PROJECTS = _listed(
    "Kestrel|Bluebell|Harbour|Lantern|Meridian|Nimbus|Orchard|Pebble|Quarry|Rampart|Saffron|Tundra|"
    "Umbra|Vellum|Willow|Yarrow"
)
TOPICS = _listed(
    "invoice export|login page|search ranking|nightly backup|onboarding mail|payment retries|map tiles|"
    "image resizing|audit log|holiday calendar|price table|release notes|error budget|queue workers"
)
FEELINGS = _listed("thrilled|uneasy|relieved|curious|exhausted|proud|annoyed|hopeful")
FOODS = _listed("lentils|oysters|aubergine|coriander|rye bread|blue cheese|peanuts|okra")

_SAYINGS = (
    "{who} is moving to {place} on {day} and asked me to look after the {thing} until spring.",
    "We decided to build the {topic} of {project} without a queue first; {who} measures it again in week {number}.",
    "I'm {feeling} about the {thing}: it broke twice in {place} and the repair cost {number} euros.",
    "Remember that {who} can't eat {food}. For the dinner in {place} there will be {number} of us.",
    "The {topic} failed {number} times last night. {who} found that the certificate for {project} had expired.",
    "From now on, always send the notes of {project} to {who} before the call, never after it.",
    "{who} and {other} met in {place} in {year}; they still argue about who owned the first {thing}.",
    "My dentist in {place} moved the appointment to {day} at {hour}:15. I told {who} I'd be late.",
    "Could you check whether the {topic} of {project} still needs {number} megabytes? {who} doubts it.",
    "I prefer trains to flights for {place}, even if it takes {number} hours; {who} thinks that's mad.",
    "Honestly? {who} was {feeling} when the {thing} arrived, and then {other} dropped it on the stairs.",
    "Budget for {project}: {number} thousand, of which {who} signed a third on {day}. {other} keeps the rest.",
)
_SHORT = (
    "Ha, that's so {who}!",
    "Really? In {place}?",
    "Yes, {day} works for me.",
    "I'm {feeling}, thanks for asking.",
    "No idea what {word} means, do you?",
    "Same here, {number} of them.",
    "Let me ask {who} about the {thing}.",
    "Ok, {hour} o'clock then, near the {word}.",
)
_ASIDES = (
    "By the way, the {word} next to the {thing} reminded me of {place}.",
    "{who} calls it a {word}, which I had never heard before.",
    "The {word} and the {rare} were on the same list as the {topic}.",
    "Somebody left a {rare} on the desk of {other}.",
    "I read about {word} {rare} last night and couldn't stop thinking of {who}.",
)
_ANSWERS = (
    "Here is a plan for the {topic} of {project}. First, measure {word} for {number} days. Second, write down what {who} expects.",
    "There are three options for {place}: take the {thing} along, rent one there, or ask {who} to lend theirs.",
    "The error comes from {word}: the {topic} reads {rare} before it is written. Move the check up and try again with {number} items.",
    "A dinner without {food} for {number}: start with a soup, then {word} with rice, and ask {who} to bring the {rare}.",
    "In short, {project} can ship on {day} if the {topic} is frozen now; otherwise plan {number} more days for {word}.",
    "Step {number}: open the settings, choose {word}, and set {rare} to {year}. {who} should then see the {thing} in the list.",
    "Consider the costs: {number} euros a month for the {thing}, {year} for {place}, and nothing for the {rare}.",
    "To remember {word}, picture the {thing} of {who} in the middle of {place}, with a {rare} on top.",
)
_ANSWER_SHARE = 1 / 8
_CAST = 40  # turns until other people talk
# Made-up words by how common they are: the n-th is said 1/n as often as the first (Zipf).
_SYLLABLES = _listed("ba|ko|ri|tu|ne|sha|lo|mi|ver|dan|pel|qui|zo|gra|fen|ul")
_VOCABULARY = 50_000
_QUESTIONS = (
    "What did {who} decide about the {topic} of {project}?",
    "When is {who} moving to {place}?",
    "Who can't eat {food}?",
    "What happened to the {thing} in {place}?",
    "How large is the budget for {project}?",
    "Where did {who} and {other} meet?",
    "What should I keep in mind about {project} and {who}?",
    "Why did the {topic} fail?",
    "What was that about {word}?",
    "Who left the {rare} on the desk?",
    "How many days for {word} on {project}?",
    "What did the assistant say about the {thing} in {place}?",
)
_SHARES = tuple(itertools.accumulate(1 / rank for rank in range(1, _VOCABULARY + 1)))
_START = datetime(2023, 1, 2, 8, tzinfo=UTC)
_STEP = timedelta(minutes=7)


def turns(seed: int) -> Iterator[dict[str, Any]]:
    """Turns as `capture` takes them, without end; no two have the same text."""
    rng = random.Random(seed)
    cast = [PEOPLE[0]]
    for number in itertools.count():
        if number % _CAST == 0:
            cast = [_name(rng) for _ in range(rng.choice((2, 2, 2, 3, 5)))]
        answers = rng.random() < _ANSWER_SHARE
        templates = rng.choices(_ANSWERS, k=rng.randrange(3, 9)) if answers else _said(rng)
        said = " ".join(_filled(rng, template) for template in templates)
        turn = {
            "speaker": "assistant" if answers else rng.choice(cast),
            "text": f"{said} (No. {number})",
            "at": (_START + number * _STEP).isoformat(),
            "key": f"turn-{number}",
        }
        yield turn | ({"role": "assistant"} if answers else {})


def _said(rng: random.Random) -> list[str]:
    if rng.random() < 0.3:
        return [rng.choice(_SHORT)]
    chosen = [rng.choice(_SAYINGS)]
    # Some turns are a sentence, some a paragraph, as in life.
    return chosen + rng.choices(_SAYINGS + _ASIDES, k=rng.choice((0, 0, 1, 1, 2)))


def _name(rng: random.Random) -> str:
    """Most people are spoken of by one name; some have a second one."""
    first = rng.choice(PEOPLE)
    return first if rng.random() < 0.7 else f"{first} {_word(rng).capitalize()}"


def _word(rng: random.Random, skip: int = 0) -> str:
    """A made-up word; those of a low number are common."""
    number = skip + bisect(_SHARES, rng.random() * _SHARES[-1])
    word = ""
    while True:
        number, syllable = divmod(number, len(_SYLLABLES))
        word += _SYLLABLES[syllable]
        if not number and len(word) > 3:
            return word


def questions(seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    while True:
        yield _filled(rng, rng.choice(_QUESTIONS))


def _filled(rng: random.Random, template: str) -> str:
    who, other = rng.sample(PEOPLE, 2)
    return template.format(
        who=who,
        other=other,
        place=rng.choice(PLACES),
        thing=rng.choice(THINGS),
        project=rng.choice(PROJECTS),
        topic=rng.choice(TOPICS),
        feeling=rng.choice(FEELINGS),
        food=rng.choice(FOODS),
        word=_word(rng),
        rare=_word(rng, skip=_VOCABULARY // 10),
        number=rng.randrange(2, 99),
        hour=rng.randrange(8, 19),
        year=rng.randrange(1985, 2023),
        day=f"{rng.randrange(1, 29)} {rng.choice(('March', 'June', 'September', 'November'))}",
    )
