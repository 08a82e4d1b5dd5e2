"""From text to terms: what the keyword index holds of a memory, and what is asked of a question.

Pure, and the same for both: a question and a memory that say the same thing must come out as the same terms, in any script.
There is one stemmer for each script, never a guess of the language; scripts without spaces become pairs of characters.
What changes here changes what is indexed, so a vault's keyword index must be rebuilt after it.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import datetime

import Stemmer

from mcp_server.when import MONTHS

# Long answers are noise to a keyword index: their head names what they are about. Measured on assistant logs;
# the whole text is stored and shown.
HEAD_CHARS = 900
# A question of more terms than this is somebody's pasted document; the first ones say what it is about.
QUESTION_TERMS_MAX = 64
# What is longer is no word (a key, an image in base64); its beginning is enough to find it by.
TERM_CHARS_MAX = 64
# A path or a version has some parts; what has more is not looked for as a whole.
_PARTS_MAX = 8
# What may stand around an ASCII word and changes nothing about its terms; an apostrophe or an underscore may.
AROUND = '!"#$%&()*+,-./:;<=>?@[\\]^`{|}~'
# Inflections share their first letters: "remind", "reminded", "reminders".
_BEGINNING_CHARS = 6

# Words that ask instead of naming something. Small on purpose: a stop word that matters is lost for good.
_STOP_WORDS = frozenset(
    """a about am an and any are as at be been being but by can could did do does doing for from had has have having
    he her hers him his how i if in into is it its just me my no not of on or our ours out over shall she should so
    some such than that the their theirs them then there these they this those to too us was we were what when where
    which while who whom whose why will with would you your yours tell know remember
    aren couldn didn doesn don hadn hasn haven isn ll re shouldn ve wasn weren wouldn""".split()
) | frozenset("的了是在我你他她它们們吗嗎呢吧不有和就都而及与與这這那么麼什谁誰哪")

_THAI_AND_LAO = "\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0ece\u0edc-\u0edf"
_MYANMAR_AND_KHMER = "\u1000-\u103f\u1050-\u108f\u1780-\u17d3\u17dc\u17dd"
_KANA = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_HANGUL = "\uac00-\ud7a3"
_UNSPACED = f"{_THAI_AND_LAO}{_MYANMAR_AND_KHMER}{_KANA}{_HAN}"
_RUN = re.compile(f"([{_UNSPACED}]+|[{_HANGUL}]+)")
# A vowel sign or a tone mark belongs to the letter before it.
_LETTER = re.compile(
    f"[{_UNSPACED}][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059"
    "\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u17b4-\u17d3\u17dd]*"
)
_IS_HAN = re.compile(f"[{_HAN}]")
_IS_HANGUL = re.compile(f"[{_HANGUL}]")

# Accents of Latin, Greek and Cyrillic letters (й is a letter of its own, and keeps its mark), points of Hebrew, vowels
# and the stretching sign of Arabic, and what is not seen at all: soft hyphens, joiners, byte order marks.
_MARKS = re.compile(
    "(?<![иИ])\u0306|[\u0300-\u0305\u0307-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u00ad\u200b-\u200f\u2060\ufeff]"
)
# Letters that differ from their plain form by no mark that could be taken off.
_PLAIN = str.maketrans(
    {"ı": "i", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "æ": "ae", "Æ": "Ae",
     "œ": "oe", "Œ": "Oe", "þ": "th", "Þ": "Th", "ٱ": "ا", "ی": "ي", "ى": "ي", "ک": "ك", "‐": "-", "’": "'", "ʼ": "'"}
)  # fmt: skip
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
# "Ann's", "don't", "I'm", "l'hôtel": what stands on the short side of an apostrophe names nothing.
_SHORT_SIDE = re.compile(r"\b\w'\w\b|'(?:s|t|d|m|ll|re|ve)\b|\b\w'(?=\w)", re.IGNORECASE)
# Vowel signs of Indic, Tibetan and other scripts: no letters to Python, but parts of a word.
_SIGNS = (
    "\u0711-\u082d\u0859-\u085b\u08d3-\u0963\u0966-\u0df3\u0f18-\u0fbc\ua8e0-\uaaef\uabe3-\uabed"
)
_WORD = rf"[^\W_]+(?:[{_SIGNS}]+[^\W_]*)*"
# Words put together (`before_migration`, `ann@example.com`, `well-known`), and numbers (`3.14`, `1,000`, `2023-05-08`).
_TOGETHER = re.compile(rf"{_WORD}(?:(?:[-.@]|_+|(?<=\d)[,:/](?=\d)){_WORD})*")
_PART = re.compile(_WORD)
_HUMP = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")  # beforeMigration, YouTube

# The Snowball stemmer of each script, by the first letter beyond it. Scripts of many languages have that of the one most
# spoken here: a wrong ending taken off is taken off on both sides.
_STEMMERS = (
    (0x0250, "english"), (0x0370, None), (0x0400, "greek"), (0x0530, "russian"), (0x0590, "armenian"), (0x0600, "hebrew"),
    (0x0700, "arabic"), (0x0750, None), (0x0780, "arabic"), (0x0900, None), (0x0980, "hindi"), (0x0B80, None),
    (0x0C00, "tamil"),
)  # fmt: skip
# "and the book", "with the book" are one word in Arabic; the stemmer takes only the article off.
_ARABIC_PARTICLE = re.compile("^[وفبك](?=ال..)")
# Nor is there a stemmer for Hebrew, where "the", "and", "in", "to", "from", "that" are the first letter of the word.
_HEBREW_PARTICLES = frozenset("הובלמשכ")


class Stemmers(dict[str, Stemmer.Stemmer]):
    """Of one thread: they are not safe between threads, and take a microsecond to make."""

    def __missing__(self, language: str) -> Stemmer.Stemmer:
        stemmer = self[language] = Stemmer.Stemmer(language, 0)
        return stemmer


def indexed_terms(text: str, *, speaker: str | None, when: datetime | None) -> list[str]:
    """The terms of a memory, as often as it says them."""
    # Each part for itself: no name and no text may grow together with what stands before it.
    parts = indexed_parts(text, speaker=speaker, when=when)
    return list(_stemmed((word for part in parts for word in _split(part)), Stemmers()))


def indexed_parts(text: str, *, speaker: str | None, when: datetime | None) -> list[str]:
    """What of a memory is found by words: its date in words, its speaker, its head."""
    parts = [f"{when.day} {MONTHS[when.month - 1]} {when.year}"] if when else []
    if speaker:
        parts.append(speaker)
    return [*parts, text[:HEAD_CHARS]]


def terms_of_spelling(spelling: str, stemmers: Stemmers) -> Iterable[str]:
    """The terms of what stands between two spaces. Those of a text are those of its spellings: no term reaches over a space."""
    is_plain = spelling.isdecimal() or (spelling.isalpha() and spelling[1:].islower())
    if is_plain and spelling.isascii():  # nearly all are
        word = (spelling.lower().lstrip("0") or spelling)[:TERM_CHARS_MAX]
        return (stemmers["english"].stemWord(word) or word,)
    return _stemmed(_split(spelling), stemmers)


def question_terms(question: str) -> list[str]:
    """The distinct terms that name something, in order; all of them if none does."""
    everything = list(_split(question))
    naming = [word for word in everything if word not in _STOP_WORDS] or everything
    return list(dict.fromkeys(_stemmed(naming, Stemmers())))[:QUESTION_TERMS_MAX]


def names_something(word: str) -> bool:
    """Whether a word, as it is written, is more than the glue of a sentence."""
    return word.casefold() not in _STOP_WORDS


def beginnings(question: str) -> re.Pattern[str] | None:
    """Finds, in a text as it was written, where words begin as the question's words do. None if it has no word."""
    pieces = _RUN.sub(r" \1 ", unicodedata.normalize("NFKC", question)).split()
    words = [word for piece in pieces for word in _PART.findall(piece)]
    naming = [word for word in words if word.casefold() not in _STOP_WORDS] or words
    starts: dict[str, None] = {}
    for word in naming[:QUESTION_TERMS_MAX]:
        if _RUN.match(word):
            starts |= dict.fromkeys(re.escape(letter) for letter in word)
        else:
            starts[rf"\b{re.escape(word[:_BEGINNING_CHARS])}"] = None
    return re.compile("|".join(starts), re.IGNORECASE) if starts else None


def _split(text: str) -> Iterator[str]:
    """The words of a text in order, folded and not yet stemmed; what is put together as a whole, too."""
    for piece, is_run in _pieces(text):
        if is_run:
            yield from _pairs(piece)
        else:
            for said in _TOGETHER.findall(piece):
                yield from _of_word(said)


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """A folded text in parts, and whether each is a run of a script that is cut into pairs."""
    if not text.isascii():
        text = _folded(text)
    if "'" in text:
        text = _SHORT_SIDE.sub(" ", text)
    # Every other piece is such a run.
    for number, piece in enumerate(_RUN.split(text) if not text.isascii() else (text,)):
        yield piece, bool(number % 2)


def _folded(text: str) -> str:
    """One form for what only looks different: accents off, full and half width alike, digits of any script as ours."""
    bare = _MARKS.sub("", unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text)))
    plain = unicodedata.normalize("NFC", bare).translate(_PLAIN)
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.digit(digit.group())), plain)


def _pairs(run: str) -> Iterator[str]:
    if _IS_HANGUL.match(run):
        letters = list(run)
        if len(letters) <= 2:  # a noun of one syllable, alone or with its particle
            yield letters[0]
    else:
        letters = _LETTER.findall(run)
        if len(letters) == 1:
            yield letters[0]
        else:  # a Chinese word may be one character
            yield from (letter for letter in letters if _IS_HAN.match(letter))
    yield from (one + other for one, other in itertools.pairwise(letters))


def _of_word(said: str) -> Iterator[str]:
    if said.isdecimal():
        yield said.lstrip("0") or said
        return
    if said.isalnum() and (said[1:].islower() or not _HUMP.search(said)):
        yield said.casefold()
        return
    parts = [part for piece in _PART.findall(said) for part in _HUMP.split(piece)]
    for part in parts:
        yield part.lstrip("0") or part if part.isdecimal() else part.casefold()
    if 1 < len(parts) <= _PARTS_MAX:
        # "e-mail" is also "email", and `beforeMigration` is `before_migration`; 3.14 is not 314, but 1,000 is 1000.
        whole = said.casefold()
        if any(character.isdecimal() for character in whole) or "@" in whole:
            yield whole.replace(",", "")
        else:
            yield "".join(parts).casefold()


def _stemmed(words: Iterable[str], stemmers: Stemmers) -> Iterator[str]:
    for long_word in words:
        word = long_word[:TERM_CHARS_MAX]
        language = "english" if word.isascii() else _language(word)
        if language == "hebrew":
            if len(word) > 3 and word[0] in _HEBREW_PARTICLES:
                yield word[1:]
            yield word
        elif language is None:
            yield word
        else:
            if language == "arabic":
                word = _ARABIC_PARTICLE.sub("", word)
            # A stemmer may leave nothing of a word that is an ending.
            yield stemmers[language].stemWord(word) or word


def _language(word: str) -> str | None:
    first = ord(word[0])
    if 0x1E00 <= first < 0x1F00:  # Latin with two marks, as far as they do not come off
        return "english"
    return next((language for beyond, language in _STEMMERS if first < beyond), None)
