"""Documents in pieces that one recall can return: by headings first, by paragraphs where a section is long.

Nothing is lost: the bodies hold every line except the headings, and those stand in each piece's first line.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from mcp_server.importers.drafts import cut, digest

# About 400 tokens: five fit in an answer, and the embedding model sees most of each.
CHUNK_CHARS_MAX = 1_500
# The path is there to say what a piece is about; somebody's whole sentence as a heading does that in fewer.
_PATH_CHARS_MAX = 200

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+([^\r\n]*)\r?\n?")
_FENCE = re.compile(r" {0,3}(```|~~~)")


class Chunk(Struct, frozen=True):
    path: tuple[str, ...]
    """The document's title and the headings above."""
    body: str
    key: str
    """Names this piece among those of its document, and stays the same while its content does."""

    @property
    def whole(self) -> str:
        return f"{' › '.join(self.path)[:_PATH_CHARS_MAX]}\n\n{self.body}"


def chunks(text: str, title: str) -> Iterator[Chunk]:
    seen: dict[str, int] = {}
    for headings, section in _sections(text):
        path = (title, *headings) if headings[:1] != (title,) else headings
        for piece in cut(section.strip(), CHUNK_CHARS_MAX):
            body = piece.strip()
            if body:
                name = digest(*path, body)
                seen[name] = seen.get(name, 0) + 1
                # The same piece twice in one document is two pieces, the first of which keeps its plain name.
                yield Chunk(path, body, name if seen[name] == 1 else f"{name}.{seen[name]}")


def opening_heading(text: str) -> str | None:
    """The heading a document begins with, which is its title."""
    first = text.lstrip().partition("\n")[0]
    heading = _HEADING.fullmatch(first)
    return _words(heading[2]) or None if heading else None


def _words(heading: str) -> str:
    """Without the closing `##` that some write, which a `C#` is not."""
    words = heading.strip()
    plain = words.rstrip("#")
    return plain.rstrip() if plain != words and plain[-1:] in ("", " ", "\t") else words


def _sections(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    open_headings: list[tuple[int, str]] = []
    lines: list[str] = []
    fence: str | None = None
    for line in text.splitlines(keepends=True):
        if found := _FENCE.match(line):
            # A heading inside of a code block is a comment in some program.
            fence = found[1] if fence is None else (None if found[1] == fence else fence)
        heading = _HEADING.fullmatch(line) if fence is None else None
        if heading is None:
            lines.append(line)
            continue
        yield tuple(words for _, words in open_headings), "".join(lines)
        lines.clear()
        level = len(heading[1])
        open_headings = [each for each in open_headings if each[0] < level] + [
            (level, _words(heading[2]))
        ]
    yield tuple(words for _, words in open_headings), "".join(lines)
