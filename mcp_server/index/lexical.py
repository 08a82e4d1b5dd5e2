"""Keyword search in the vault's FTS5 table: what is indexed of a memory, what is asked of a question.

Pure text in, SQL on the vault's own connection; the index lives inside the encrypted file. BM25 runs without length
normalisation (the table keeps no column sizes), which measured better on turns and is faster. Rows are scored by
`-bm25()`, so larger is better.
"""

import re
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcp_server.when import MONTHS

if TYPE_CHECKING:
    from sqlite_utils import Database

# Long answers are noise to a keyword index: their head names what they are about. Measured on assistant logs;
# the whole text is stored and shown.
HEAD_CHARS = 900
# A question of more words than this is somebody's pasted document; the first ones say what it is about.
QUERY_WORDS_MAX = 64

# Inflections share their first letters: "remind", "reminded", "reminders".
_STEM_CHARS = 6

# Words that ask instead of naming something. Small on purpose: a stop word that matters is lost for good.
_STOP_WORDS = frozenset(
    """a about am an and any are as at be been being but by can could did do does doing for from had has have having
    he her hers him his how i if in into is it its just me my no not of on or our ours out over shall she should so
    some such than that the their theirs them then there these they this those to too us was we were what when where
    which while who whom whose why will with would you your yours tell know remember""".split()
)
# A letter with the marks that follow it (accents, Hebrew and Arabic vowels, all of the Indic blocks) is one word, also
# where FTS5 cuts it at a mark: quoted, it is then looked for as these pieces side by side.
_WORD = re.compile(r"[^\W_][\w\u0300-\u036f\u0591-\u05c7\u064b-\u0670\u0900-\u0dff]*")
# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, Hiragana, Katakana, Han. FTS5's tokenizer would take a whole
# sentence of them for one word, so each character becomes one.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af])"
)


def indexed_text(text: str, *, speaker: str | None, when: datetime | None) -> str:
    """What the index holds of a memory: its date in words, its speaker, its head."""
    parts = [f"{when.day} {MONTHS[when.month - 1]} {when.year}"] if when else []
    if speaker:
        parts.append(f"{speaker}:")
    return _spaced(" ".join([*parts, text[:HEAD_CHARS]]))


def words(text: str) -> list[str]:
    """The words of a text that name something, as they are written, in order; all of them if none does."""
    # Not casefolded: FTS5 folds by rules of its own, in which ß is no ss.
    everything = _WORD.findall(_spaced(text))[:QUERY_WORDS_MAX]
    return [word for word in everything if word.casefold() not in _STOP_WORDS] or everything


def match_expression(question: str) -> str | None:
    """The question as an FTS5 expression (any of its words), or None if it has no word at all."""
    distinct = {word.casefold(): word for word in words(question)}
    return " OR ".join(f'"{word}"' for word in distinct.values()) or None


def beginnings(question: str) -> re.Pattern[str] | None:
    """Finds, in a text, where words begin as the question's words do: a stem for the poor. None if it has no word."""
    stems = dict.fromkeys(word[:_STEM_CHARS] for word in words(question))
    found = [
        re.escape(stem) if _UNSPACED.match(stem) else rf"\b{re.escape(stem)}" for stem in stems
    ]
    return re.compile("|".join(found), re.IGNORECASE) if found else None


def search(
    db: "Database", expression: str, *, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and scores (larger is better, never negative), best first."""
    # Without column sizes FTS5 takes each text for one of -1 words. Where the texts have three words on average, that makes
    # its formula 0/0 for a word that no text has, and NULL of the score; where they have fewer, it is below zero.
    found = db.execute(
        """SELECT rowid, max(coalesce(-bm25(lexical), 0), 0) FROM lexical WHERE lexical MATCH ?
           ORDER BY rank LIMIT ?""",
        [expression, limit],
    ).fetchall()
    rows = np.fromiter((row for row, _ in found), dtype=np.int64, count=len(found))
    scores = np.fromiter((score for _, score in found), dtype=np.float32, count=len(found))
    return rows, scores


def add(db: "Database", row: int, indexed: str) -> None:
    db.execute("INSERT INTO lexical (rowid, text) VALUES (?, ?)", [row, indexed])


def remove(db: "Database", row: int, indexed: str) -> None:
    """Take a memory out; `indexed` must be what was put in, or the index would keep a part of it."""
    db.execute("INSERT INTO lexical (lexical, rowid, text) VALUES ('delete', ?, ?)", [row, indexed])


def holds(db: "Database", row: int, indexed: str) -> bool:
    """Whether this row is found by the first word that it was indexed with; true of a text without words."""
    said = words(indexed)
    if not said:
        return True
    found = db.execute(
        "SELECT 1 FROM lexical WHERE lexical MATCH ? AND rowid = ?", [f'"{said[0]}"', row]
    )
    return found.fetchone() is not None


def has(db: "Database", word: str) -> bool:
    """Whether any memory has this word."""
    return (
        db.execute("SELECT 1 FROM lexical WHERE lexical MATCH ? LIMIT 1", [f'"{word}"']).fetchone()
        is not None
    )


def only_in(db: "Database", word: str, rows: str) -> bool:
    """Whether no memory but these (a JSON list of rows) has this word."""
    elsewhere = db.execute(
        """SELECT 1 FROM lexical WHERE lexical MATCH ? AND rowid NOT IN (SELECT value FROM json_each(?)) LIMIT 1""",
        [f'"{word}"', rows],
    ).fetchone()
    return elsewhere is None


def clear(db: "Database") -> None:
    db.execute("INSERT INTO lexical (lexical) VALUES ('delete-all')")


def _spaced(text: str) -> str:
    """In one normal form (an accent of its own, a ligature, a half-width kana are what they stand for), cut where FTS5 would not."""
    return _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text))
