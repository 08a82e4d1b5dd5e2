"""What every rule of ours reads: a parsed file, and the comments that excuse a line from a rule.

A line is excused by `# allow NAME: reason` on it. Without a reason the comment excuses nothing, because the reason is
what the next reader needs.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_EXCUSE = re.compile(r"#\s*allow (?P<rule>[a-z-]+):\s*\S")


@dataclass(frozen=True)
class Source:
    path: str
    """Relative to the project, with forward slashes."""
    tree: ast.Module
    lines: tuple[str, ...]

    def is_under(self, *places: str) -> bool:
        return any(self.path == place or self.path.startswith(f"{place}/") for place in places)

    def excuses(self, line: int, rule: str) -> bool:
        text = "".join(self.lines[line - 1 : line])  # an empty file has no first line
        return any(match["rule"] == rule for match in _EXCUSE.finditer(text))


@dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    sentence: str


Rule = Callable[[list[Source]], Iterator[Finding]]


def read(root: Path, path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(root).as_posix()
    return Source(name, ast.parse(text, filename=name), tuple(text.splitlines()))
