"""From memories that carry cues to the lines of a briefing: what is asked of the assistant, who the person is, what is open and coming.

Pure. A line is the sentence that carries the cue, verbatim; nothing is summed up. What a later memory answers, corrects or says is done gives
way, and only where the words make that plain: a line too many costs a few tokens, a promise dropped by mistake is broken.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from mcp_server import coming, cues
from mcp_server.cues import Cited
from mcp_server.model import Kind, Memory
from shared.ids import MemoryId

COMING_DAYS = 30
# A promise without a day is taken up, or given up, within weeks; one whose day has passed is mentioned for two more.
_UNDATED_DAYS = 30
_OVERDUE_DAYS = 14
# A word of four letters or more, by its beginning, stands for its inflections: report, reports, reported.
_STEM = 5
_WORD_MIN = 4
_SAME_THING = 0.6
_WORD = re.compile(r"[^\W_]+")
_EMPTY_WORDS = frozenset(
    "about after again also before could definitely from going have just need next over please promise promised really remind "
    "should still that their them then there they this those today tomorrow tonight want week weekend month will with would "
    "your monday tuesday wednesday thursday friday saturday sunday must".split()
)
# The deeds whose past is not the deed and "ed".
_PAST = {"send": "sent", "pay": "paid", "buy": "bought", "bring": "brought", "write": "wrote written", "meet": "met",
         "give": "gave given", "speak": "spoke spoken", "set": "set", "feed": "fed", "submit": "submitted", "ship": "shipped",
         "drop": "dropped", "cancel": "cancelled canceled", "find": "found", "get": "got", "hand": "handed", "mail": "mailed emailed",
         "email": "emailed", "call": "called phoned rang", "phone": "phoned called", "ring": "rang called", "text": "texted"}  # fmt: skip
_DONE_WORDS = frozenset("done finished completed erledigt fertig abgeschlossen fait fini terminé hecho terminado".split())  # fmt: skip


class Told(Struct, frozen=True):
    """One line: a memory, and what of it is shown."""

    memory: Memory
    text: str
    note: str | None = None
    """What is added to the person's words: the day meant, what it replaced."""


class Read(Struct, frozen=True):
    """A memory with the sentences in it that carry cues."""

    memory: Memory
    cited: tuple[Cited, ...]

    @property
    def said(self) -> datetime:
        return self.memory.occurred_at or self.memory.created_at


def read(memories: Iterable[tuple[Memory, int]]) -> list[Read]:
    """Memories with the cues to look for in each; the latest first."""
    found = [
        Read(
            each,
            tuple(cues.cited(each.text, each.speaker, each.source.trust, each.kind, wanted=wanted)),
        )
        for each, wanted in memories
    ]
    return sorted(found, key=lambda one: (one.said, one.memory.id), reverse=True)


def saying(found: Sequence[Read], flag: int, kind: Kind | None = None) -> list[Told]:
    """The sentences with a cue; of a memory whose kind says the same, its whole text."""
    told = []
    for one in found:
        if kind is not None and one.memory.kind == kind:
            told.append(Told(one.memory, one.memory.text))
            continue
        told += [Told(one.memory, each.sentence) for each in one.cited if each.flags & flag]
    return told


def profile(found: Sequence[Read]) -> list[Told]:
    """Who people are: of what each speaker said about one thing, the newest. What is asked first comes first."""
    newest: dict[tuple[str | None, str], Told] = {}
    for one in found:
        for each in one.cited:
            if each.flags & cues.PROFILE and each.about is not None:
                newest.setdefault((one.memory.speaker, each.about), Told(one.memory, each.sentence))
    return [told for _, told in sorted(newest.items(), key=lambda item: _rank(item[0][1]))]


_ASKED_FIRST = ("name", "pronouns", "diet and health", "home", "work", "family", "languages", "origin", "age", "birthday", "pets")  # fmt: skip


def _rank(about: str) -> int:
    subject = about.partition(":")[0]
    return _ASKED_FIRST.index(subject) if subject in _ASKED_FIRST else len(_ASKED_FIRST)


def promises(found: Sequence[Read], now: datetime) -> list[Told]:
    """What was promised and is neither done nor long past: what has a day first, by that day."""
    done = [
        (one, frozenset(_WORD.findall(each.sentence.casefold())))
        for one in found
        for each in one.cited
        if each.flags & cues.DONE
    ]
    dated: list[tuple[date, Told]] = []
    undated: list[Told] = []
    for one in found:
        for each in one.cited:
            if not each.flags & cues.PROMISE or _is_done(one, each, done):
                continue
            days = coming.days_ahead(each.sentence, one.said.date())
            if days and days[-1].last >= now.date() - timedelta(days=_OVERDUE_DAYS):
                due = days[0]
                dated.append((due.last, Told(one.memory, each.sentence, _day(due.first, due.last))))
            elif not days and one.said >= now - timedelta(days=_UNDATED_DAYS):
                undated.append(Told(one.memory, each.sentence))
    return [told for _, told in sorted(dated, key=lambda item: item[0])] + undated


def _is_done(promised: Read, sentence: Cited, done: Sequence[tuple[Read, frozenset[str]]]) -> bool:
    closes = _closing(sentence.sentence)
    return any(
        one.memory.space == promised.memory.space
        and (one.said, one.memory.id) > (promised.said, promised.memory.id)
        and closes(spoken)
        for one, spoken in done
    )


def _closing(promise: str) -> Callable[[frozenset[str]], bool]:
    """Whether the words of a later sentence say that this was done: the deed in its past (or "done"), and most of what it was about."""
    pasts = {
        word: {*_PAST.get(word, "").split(), f"{word}ed", f"{word}d"}
        for word in _WORD.findall(promise.casefold())
    }
    spoken_of_done = _DONE_WORDS.union(*pasts.values())

    def closes(spoken: frozenset[str]) -> bool:
        if spoken.isdisjoint(spoken_of_done):
            return False
        deeds = {word for word, forms in pasts.items() if spoken & forms}
        about = _stems(pasts.keys() - deeds)
        return bool(about) and len(about & _stems(spoken)) / len(about) >= _SAME_THING

    return closes


def _stems(words: Iterable[str]) -> set[str]:
    return {
        word[:_STEM]
        for word in words
        if (len(word) >= _WORD_MIN or word.isdigit()) and word not in _EMPTY_WORDS
    }


def coming_up(found: Sequence[Read], now: datetime) -> list[Told]:
    """Days within the horizon that a memory names, or on which it happens; the nearest first."""
    today, horizon = now.date(), now.date() + timedelta(days=COMING_DAYS)
    told: list[tuple[date, Told]] = []
    for one in found:
        happens = one.memory.occurred_at
        of_its_own = one.memory.kind != "turn"  # a turn's time is when it was said
        if (
            of_its_own
            and happens is not None
            and now <= happens < now + timedelta(days=COMING_DAYS)
        ):
            told.append((happens.date(), Told(one.memory, one.memory.text)))
            continue
        for each in one.cited:
            if not each.flags & cues.DATED:
                continue
            days = [
                day
                for day in coming.days_ahead(each.sentence, one.said.date())
                if day.last >= today and day.first <= horizon
            ]
            if days:
                note = _day(days[0].first, days[0].last)
                told.append((max(days[0].first, today), Told(one.memory, each.sentence, note)))
    return [each for _, each in sorted(told, key=lambda item: item[0])]


def changed(memories: Sequence[Memory], replaced: Mapping[MemoryId, Memory]) -> list[Told]:
    """What is new or says something else than before (`replaced`, by the id of what took its place). Single statements before turns."""
    told = []
    for memory in memories:
        old = replaced.get(memory.id)
        note = None if old is None else f"was: {cues.shortened(old.text)}"
        told.append(Told(memory, memory.text, note))
    return sorted(told, key=lambda each: (each.note is None, each.memory.kind == "turn"))


def fitted(
    candidates: Mapping[str, Sequence[Told]],
    shares: Mapping[str, int],
    max_tokens: int,
    cost: Callable[[Told], int],
    *,
    title_cost: Callable[[str], int],
) -> dict[str, list[Told]]:
    """What fits, by section. Each may fill its share of the budget; what some leave goes to the others in their order."""
    offered = _distinct(candidates)
    whole = sum(shares[title] for title in offered)
    kept: dict[str, list[int]] = {title: [] for title in offered}
    left = max_tokens
    for everything in (False, True):
        for title, section in offered.items():
            share = max_tokens * shares[title] // whole
            allowed = left if everything else min(left, share)
            for number, told in enumerate(section):
                price = cost(told) + (0 if kept[title] else title_cost(title))
                # In its own share, no long line may stand in place of several short ones.
                most = allowed if everything else min(allowed, share // 2)
                if number in kept[title] or price > most:
                    continue
                kept[title].append(number)
                allowed, left = allowed - price, left - price
    return {
        title: [offered[title][number] for number in sorted(numbers)]
        for title, numbers in kept.items()
        if numbers
    }


def _distinct(candidates: Mapping[str, Sequence[Told]]) -> dict[str, list[Told]]:
    """Every sentence where it is most useful, once, however often it was said; sections with nothing left out."""
    shown: dict[str, list[str]] = {}
    said: set[tuple[str | None, str]] = set()
    sections: dict[str, list[Told]] = {}
    for title, section in candidates.items():
        for told in section:
            words = (told.memory.speaker, " ".join(_WORD.findall(told.text.casefold())))
            before = shown.setdefault(told.memory.id, [])
            part = told.text.strip("… ")
            if words in said or any(part in text or text.strip("… ") in part for text in before):
                continue
            said.add(words)
            before.append(told.text)
            sections.setdefault(title, []).append(told)
    return sections


def _day(first: date, last: date) -> str:
    return f"→ {first:%a %Y-%m-%d}" if first == last else f"→ {first:%Y-%m-%d} to {last:%Y-%m-%d}"
