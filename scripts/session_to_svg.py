"""A real terminal session as a picture: types commands into a shell of its own and draws what the terminal shows."""

import io
import os
import pty
import re
import select
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 92
COMMANDS = (
    'sunaiva remember "Ann lives in Hamburg since March 2024" --kind fact -t people',
    'sunaiva remember "Ann lives in Berlin" --kind fact -t people',
    'echo "We chose PostgreSQL over MongoDB; the ledger wants constraints" | sunaiva remember -k decision',
    'sunaiva recall "where is Ann living now"',
    'sunaiva recall "which database did we pick, and why" --limit 1',
    "sunaiva forget --yes --verify $(sunaiva list --json | grep -o '[0-9a-f-]\\{36\\}' | tail -1)",
    "sunaiva audit --verify --limit 3",
)


def main(target: str) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command in COMMANDS:
        console.print(Text.assemble(("$ ", "bold green"), command))
        console.print(Text.from_ansi(_typed(command)))
    console.save_svg(target, title="sunaiva")
    svg = Path(target).read_text(encoding="utf-8")
    # The picture must not fetch a font when it is looked at.
    Path(target).write_text(
        re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8"
    )


def _typed(command: str) -> str:
    """What the terminal shows of a command, run by a shell in a pseudo-terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(
            TERM="xterm-256color",
            COLUMNS=str(COLUMNS),
            PATH=f"{Path('.venv/bin').absolute()}:{os.environ['PATH']}",
        )
        os.execvp("sh", ["sh", "-c", command])
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and select.select([terminal], [], [], 60)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.waitpid(child, 0)
    lines = shown.decode("utf-8", "replace").replace("\r\n", "\n")
    # Progress bars draw over themselves and are gone at the end.
    lines = re.sub(r"\x1b\[\?25[lh]", "", lines)
    lines = "\n".join(_final(line) for line in lines.split("\n") if "━" not in line)
    return re.sub(r"\n{2,}", "\n", lines).strip("\n")


def _final(line: str) -> str:
    """The line as it stands after its last carriage return and erasures."""
    return re.split(r"\r|\x1b\[2K|\x1b\[1A", line)[-1]


if __name__ == "__main__":
    main(sys.argv[1])
