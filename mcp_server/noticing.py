"""What a new memory has to do with one that is there: the same again, something that may contradict it, or its update.

Pure, and only ever a proposal: nothing is merged, hidden or deserves less trust because of what is said here. English only: texts in
other languages are compared by their words, numbers and vectors alone.
"""

import re
from collections.abc import Iterator, Set
from typing import Literal

from msgspec import Struct

Relation = Literal["near_duplicate", "may_contradict", "may_supersede"]

# Cosines of the bundled model on short statements: paraphrases lie above .85, statements about the same thing above .6.
SAME_COSINE_MIN = 0.92
PARAPHRASE_COSINE_MIN = 0.85
RELATED_COSINE_MIN = 0.6
# Shares of content words, without endings, numbers and words that only say that something changed.
_SAME_WORDS_MIN = 0.85
_PARAPHRASE_WORDS_MIN = 0.25
_RELATED_WORDS_MIN = 0.5
_CONTAINED_MIN = 0.6
# A text of several sentences is compared sentence by sentence; so many of each, the first.
_STATEMENTS_MAX = 8
_STATEMENT_CHARS_MAX = 400
_WORDS_IN_COMMON_MIN = 2

_NEGATIONS = frozenset(
    "no not never none nobody nothing neither without don't doesn't didn't isn't wasn't aren't weren't won't can't cannot "
    "haven't hasn't hadn't wouldn't shouldn't couldn't".split()
)
_STOP = frozenset(
    "a an the of to in on at for with and or but by from as is are was were be been being am i me my mine we us our you your he she "
    "it its they them their his her this that these those do does did have has had i've i'm we've it's will would can could should "
    "so if then than there here very really just also about into over after before up out s t ve m user user's some any all".split()
)
_CHANGE_WORDS = frozenset(
    "now anymore instead switched switching changed changing moved moving became become becomes updated recently increased decreased raised "
    "lowered improved grew grown reduced extended rescheduled postponed replaced renamed new currently already since today "
    "stopped quit gave another dropped rose reached longer sold raised went goes".split()
)
_CHANGE = re.compile(
    r"\b(?:now|no longer|any ?more|instead|switched|changed|moved (?:to|from)|relocated|became|updated|rescheduled|postponed|brought forward|"
    r"(?:recently|has|have|was|is|been|just)\s+(?:\w+\s+)?(?:increased|decreased|raised|lowered|improved|grown|reduced|extended|reached|dropped|risen)|"
    r"(?:went|goes|going|gone) (?:up|down)|sold|traded in|got rid of|(?:got|have|bought|found) a new|raised|lowered|"
    r"stopped|quit|gave up|from now on|these days|as of|replaced|renamed|used to|new \w+ (?:is|of)|turned out)\b",
    re.IGNORECASE,
)
_FORMER = re.compile(
    r"\b(?:used to|formerly|previously|in the past|as a child|years ago)\b", re.IGNORECASE
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_VALUE = re.compile(
    r"\d+(?:[.,:]\d+)*|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|"
    r"\b(?:january|february|march|april|june|july|august|september|october|november|december)\b|"
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred)\b",
    re.IGNORECASE,
)
# Of these there is one at a time: home, work, what a thing is. What one likes or owns there can be more of.
_ATTRIBUTES = (
    ("home", re.compile(r"^(?P<about>.{0,60}?)\b(?:lives? (?:in|at|near)|living in|moved (?:from .{1,30}? )?to|relocated to|based in|resides? in)\b(?P<state>.+)$")),
    ("work", re.compile(r"^(?P<about>.{0,60}?)\b(?:works? (?:at|for|as)|working (?:at|for|as)|employed (?:at|by)|joined|started (?:at|working (?:at|for)))\b(?P<state>.+)$")),
    ("switch", re.compile(r"^(?P<about>.{0,60}?)\b(?:uses?|using|switched (?:from .{1,40}? )?to|drives?|driving|prefers?|preferring|studies|studying)\b(?P<state>.+)$")),
    ("name", re.compile(r"^(?P<about>.{2,60}?)\b(?:is|are|was) (?:called|named)\b(?P<state>.+)$")),
    ("is", re.compile(r"^(?P<about>(?:.{0,40}?\b(?:my|our|the|his|her|their)\b|.{1,30}?'s)\s.{2,60}?)\b(?:is|are|was|were|equals?|costs?|became|has been|changed (?:from .{1,40}? )?to)\b(?P<state>.+)$")),
    ("is", re.compile(r"^(?P<about>.{2,40}?)\b(?:is|are|equals?|costs?)\b(?P<state>.+)$")),
)  # fmt: skip
_LEFT = re.compile(r"\bfrom (?P<was>.{1,40}?) to (?P<now>[^,.;]{1,40})")
# "I changed gyms", whatever was said of the gym before.
_EXCHANGED = re.compile(
    r"\b(?:i|we)(?:'ve| have)? (?:changed|switched|replaced|swapped|got a new|bought a new|have a new|found a new) "
    r"(?:my |our |the )?(?P<thing>[a-z]{3,})\b(?! (?:to|from)\b)"
)
# What follows the new state is another matter, and may name the old one: "… now; the former retired".
_ASIDE = re.compile(r"[;,(]| (?:and|but|because|since|after|instead of) ")
# A number that tells one thing from another of its sort ("buoy 714 drifted …", "note 14"), in contrast to one that is said of a thing.
_LABEL = re.compile(
    r"(?:\A|(?<=[:;,] )|(?<=\d ))(?:(?:the|my|our|this|in|on|at|for) )?(?:[a-z]+ ){0,2}?(?P<noun>[a-z]{2,}) "
    r"(?:no\.? |number |#)?(?P<number>\d+[a-z]?)(?![:.,/]\d)"
    r"(?=\Z|[:;,()]| (?:(?:is|was|are|were|has|had|in|on|at|of|for|near|from|to|by|under|and)\b|[a-z]+(?:ed|s)\b|[a-z]+ \d))"
    r"(?! (?:%|percent|euros?|eur|dollars|usd|pounds|cents|k?m|kilo\w+|metres|meters|miles|grams|[km]g|ml|lit\w+|hours|minutes|"
    r"seconds|days|weeks|months|years|[ap]m|times|people|persons|points|degrees|steps|pages|calories)\b)"
)
_ORDINAL = re.compile(
    r"\A(?:the |my |our )?(?P<number>\d+)(?:st|nd|rd|th) (?P<noun>(?!of\b)[a-z]{3,})\b"
)
_NAMED = re.compile(
    r"\A(?:(?:The|My|Our) )?(?P<noun>[^\W\d_]{3,}) (?P<name>[A-Z][\w-]*)\b(?=[ :,])"
)
# A number behind these is their amount, not their name.
_AMOUNTS = frozenset(
    "rent price cost fee salary weight height age budget bill dose dosage speed temperature size deadline total balance score rate "
    "pin limit target goal about around over under roughly nearly almost only than".split()
)
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]+)*")
_COUNTED = re.compile(r"(?P<value>\d+(?:[.,:]\d+)*) ?(?P<thing>%|[^\W\d_]+)")
_COUNTED_WORDS_MIN = 3


class _Said(Struct, frozen=True):
    """One statement, as far as it is compared."""

    text: str
    words: frozenset[str]
    content: frozenset[str]
    values: frozenset[str]
    denied: bool
    changed: bool


def relation(new: str, old: str, cosine: float) -> Relation | None:
    """How `new` stands to `old`, given the cosine of their vectors (0 if unknown)."""
    one, two = _said(new), _said(old)
    if one.words and one.words == two.words and one.values == two.values:
        return "near_duplicate"
    if _another_thing(new.strip(), old.strip()) or _numbered_otherwise(one, two):
        return None
    if max(len(new), len(old)) > _STATEMENT_CHARS_MAX or _several(new) or _several(old):
        return _among_statements(new, old) or _likeness(one, two, cosine)
    if not _related(one, two, cosine) and not _other_state(one, two):
        return None
    if cosine >= RELATED_COSINE_MIN and _exchanged(one, two):
        return "may_supersede"
    if _differ(one, two, cosine):
        return "may_supersede" if one.changed and not two.changed else "may_contradict"
    return _likeness(one, two, cosine)


def _another_thing(new: str, old: str) -> bool:
    """Both begin with the same noun and another name behind it: "Buoy Alpha …", "Buoy Beta …"."""
    one, two = _NAMED.match(new), _NAMED.match(old)
    return (
        one is not None
        and two is not None
        and one["noun"].casefold() == two["noun"].casefold()
        and one["noun"].casefold() not in _STOP | _NEGATIONS
        and one["name"] != two["name"]
        and not _VALUE.fullmatch(one["name"])
    )


def _numbered_otherwise(one: _Said, two: _Said) -> bool:
    """The same noun bears another number as its name: they are about two things."""
    new, old = _labels(one.text), _labels(two.text)
    return any(new[noun] != old[noun] for noun in new.keys() & old.keys())


def _labels(text: str) -> dict[str, str]:
    """Numbers that tell things of one sort apart, by the noun."""
    labels = {}
    for match in (*_LABEL.finditer(text), *_ORDINAL.finditer(text)):
        noun = match["noun"]
        before = _words(match.group()[: match.start("noun") - match.start()])
        verbal = (noun.endswith(("ed", "s")) and not noun.endswith(("ss", "us"))) or (
            before & (_FIRST | _PRONOUNS)
        )
        if not verbal and noun not in _STOP | _AMOUNTS | _CHANGE_WORDS:
            labels[_stem(noun)] = match["number"]
    return labels


def may_be_stated(text: str) -> bool:
    """Whether a turn says something about the person or their affairs, at a glance: no question, no thanks, not a book."""
    head = text[:_STATEMENT_CHARS_MAX].strip()
    if len(head) < 12 or (head.endswith("?") and "." not in head and "," not in head):
        return False
    return _PERSONAL.search(head) is not None


_PERSONAL = re.compile(r"\b(?:i|i'm|i've|my|we|we've|our|mine)\b", re.IGNORECASE)


def _likeness(one: _Said, two: _Said, cosine: float) -> Relation | None:
    shared = _share(one.content | one.values, two.content | two.values)
    agree = one.values == two.values and one.denied == two.denied
    if shared >= _SAME_WORDS_MIN and agree:
        return "near_duplicate"
    if cosine >= SAME_COSINE_MIN:
        return "near_duplicate"
    if cosine >= PARAPHRASE_COSINE_MIN and shared >= _PARAPHRASE_WORDS_MIN and agree:
        return "near_duplicate"
    return None


def _related(one: _Said, two: _Said, cosine: float) -> bool:
    return (
        cosine >= RELATED_COSINE_MIN
        or _share(one.content, two.content) >= _RELATED_WORDS_MIN
        or _share(one.words, two.words) >= _RELATED_WORDS_MIN
    )


def _differ(one: _Said, two: _Said, cosine: float) -> bool:
    """They speak of the same thing, but in another number, the other way round, or in another state."""
    shared = _share(one.content, two.content)
    if one.values - two.values and two.values - one.values and shared >= _RELATED_WORDS_MIN:
        return True
    if (
        one.changed != two.changed
        and cosine >= RELATED_COSINE_MIN
        and len(one.content & two.content) >= _WORDS_IN_COMMON_MIN
        and _counted_otherwise(one, two)
    ):
        return True
    if one.denied != two.denied and (
        shared >= 0.5 or (cosine >= 0.75 and _within(one, two) >= _CONTAINED_MIN)
    ):
        return True
    return _other_state(one, two)


def _other_state(one: _Said, two: _Said) -> bool:
    if _FORMER.search(one.text) or _FORMER.search(two.text):
        return False
    left = _LEFT.search(one.text)
    if left is not None:
        was, now = _content(_words(left["was"])), _content(_words(left["now"]))
        return bool(was) and was <= two.content and not (now - was) & two.content
    for attribute, form in _ATTRIBUTES:
        new, old = form.match(one.text), form.match(two.text)
        if new is None or old is None:
            continue
        about, of = _subject(new["about"], attribute), _subject(old["about"], attribute)
        state, was = _state(new["state"], one), _state(old["state"], two)
        values = _values(new["state"]) | _values(old["state"])
        if about == of and state and was:
            return state.isdisjoint(was) and not (values and one.values & two.values)
    return False


def _exchanged(one: _Said, two: _Said) -> bool:
    """ "I changed gyms: …", and before something was said of the gym."""
    match = _EXCHANGED.search(one.text)
    return (
        match is not None
        and not two.changed
        and bool(two.words & (_FIRST | {"user", "user's"}))
        and not two.words.isdisjoint((match["thing"], match["thing"].removesuffix("s")))
        and _FORMER.search(two.text) is None
    )


def _state(said: str, whole: _Said) -> frozenset[str]:
    """Of what says that something changed, the new state only."""
    return _content(_words(_ASIDE.split(said)[0] if whole.changed else said) - _CHANGE_WORDS)


def _subject(about: str, attribute: str) -> frozenset[str]:
    words = _words(about) - _CHANGE_WORDS - _FILLERS
    own = frozenset("i") if words & _FIRST else frozenset()
    # "Home" of whom: of nobody named, of the one who speaks. What a thing is depends on the thing.
    return (_content(words) | own) or (frozenset("i") if attribute != "is" else frozenset())


_PRONOUNS = frozenset("you he she it they who".split())
_FIRST = frozenset("i i'm i've my we our me i'd".split())
_FILLERS = frozenset(
    "the a an just actually that think we'll ok yes so well update fyi note remember user".split()
)


def _among_statements(new: str, old: str) -> Relation | None:
    """Of long texts: an update or a contradiction between one statement here and one there, if it is plain enough."""
    found: Relation | None = None
    olds = list(_statements(old))
    short = max(len(new), len(old)) <= _STATEMENT_CHARS_MAX
    for one in _statements(new):
        for two in olds:
            if short and one.changed != two.changed and _other_state(one, two):
                return "may_supersede" if one.changed else "may_contradict"
            common = one.content & two.content
            if len(common) < _WORDS_IN_COMMON_MIN:
                continue
            if _counted_otherwise(one, two) and len(common) >= _COUNTED_WORDS_MIN:
                if one.changed:
                    return "may_supersede"
                found = found or "may_contradict"
            elif (
                one.denied != two.denied
                and "never" in one.words | two.words
                and _denied_done(one, two)
            ):
                found = found or "may_contradict"
    return found


def _counted_otherwise(one: _Said, two: _Said) -> bool:
    """The same thing is counted or measured in both, and nowhere with the same result."""
    new, old = dict(_counts(one.text)), dict(_counts(two.text))
    same = new.keys() & old.keys()
    return bool(same) and all(new[thing] != old[thing] for thing in same)


def _counts(text: str) -> Iterator[tuple[str, str]]:
    for match in _COUNTED.finditer(text):
        yield _stem(match["thing"]), match["value"]


def _denied_done(one: _Said, two: _Said) -> bool:
    denied, done = (one, two) if one.denied else (two, one)
    # What was never done is said up to the next comma; what follows is another matter.
    clause = next(
        (each for each in re.split(r"[,;]| but | so ", denied.text) if "never" in each), ""
    )
    denied_content = _content(_words(clause) - _CHANGE_WORDS)
    if len(denied_content) < _WORDS_IN_COMMON_MIN:
        return False
    if not done.words & _FIRST or done.text.endswith("?"):
        return False
    return len(denied_content & done.content) / len(denied_content) >= _CONTAINED_MIN


def _statements(text: str) -> Iterator[_Said]:
    count = 0
    for sentence in _SENTENCE.finditer(text[: 4 * _STATEMENT_CHARS_MAX]):
        said = _said(sentence.group())
        if len(said.content) >= _WORDS_IN_COMMON_MIN:
            yield said
            count += 1
        if count == _STATEMENTS_MAX:
            return


def _several(text: str) -> bool:
    return len(_SENTENCE.findall(text[:_STATEMENT_CHARS_MAX])) > 1


def _said(text: str) -> _Said:
    plain = text.strip().casefold().replace("’", "'")[: 4 * _STATEMENT_CHARS_MAX]
    words = _words(plain)
    return _Said(
        text=plain.rstrip(".! "),
        words=words,
        content=_content(words - _CHANGE_WORDS),
        values=_values(plain),
        denied=bool(words & _NEGATIONS)
        or "no longer" in plain
        or " stopped " in plain
        or " quit " in plain,
        changed=_CHANGE.search(plain) is not None,
    )


def _values(text: str) -> frozenset[str]:
    return frozenset(match.group().casefold() for match in _VALUE.finditer(text))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


def _content(words: Set[str]) -> frozenset[str]:
    """Words that carry the subject: without endings, grammar and values."""
    return frozenset(
        _stem(word) for word in words - _STOP - _NEGATIONS if not _VALUE.fullmatch(word)
    )


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word


def _share(one: Set[str], two: Set[str]) -> float:
    return len(one & two) / max(1, len(one | two))


def _within(one: _Said, two: _Said) -> float:
    """How much of the shorter one's content the other has."""
    return len(one.content & two.content) / max(1, min(len(one.content), len(two.content)))
