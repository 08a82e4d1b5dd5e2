"""Made-up memories and questions about them: varied, repeatable by seed, and nobody's. Written for this purpose only."""

import random
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
_QUESTIONS = (
    "What did {who} decide about the {topic} of {project}?",
    "When is {who} moving to {place}?",
    "Who can't eat {food}?",
    "What happened to the {thing} in {place}?",
    "How large is the budget for {project}?",
    "Where did {who} and {other} meet?",
    "What should I keep in mind about {project} and {who}?",
    "Why did the {topic} fail?",
)
_START = datetime(2023, 1, 2, 8, tzinfo=UTC)
_STEP = timedelta(minutes=7)


def turns(seed: int) -> Iterator[dict[str, Any]]:
    """Turns as `capture` takes them, without end; no two have the same text."""
    rng = random.Random(seed)
    number = 0
    while True:
        said = _filled(rng, rng.choice(_SAYINGS))
        # Some turns are a sentence, some a paragraph, as in life.
        said += "".join(" " + _filled(rng, rng.choice(_SAYINGS)) for _ in range(rng.randrange(3)))
        yield {
            "speaker": rng.choice(PEOPLE),
            "text": f"{said} (No. {number})",
            "at": (_START + number * _STEP).isoformat(),
            "key": f"turn-{number}",
        }
        number += 1


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
        number=rng.randrange(2, 99),
        hour=rng.randrange(8, 19),
        year=rng.randrange(1985, 2023),
        day=f"{rng.randrange(1, 29)} {rng.choice(('March', 'June', 'September', 'November'))}",
    )
