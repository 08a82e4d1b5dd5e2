"""How the twelve recovery words are shown, the one time that they are."""

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from mcp_server.cli import screen

_NOTE = (
    "Write these twelve words down and keep them apart from this device. They open the vault if its key is lost, and "
    "nothing else does. They are shown this once."
)
# A number stays with its word, and the box fits a terminal of the usual width, and a note it is copied to.
_IN_ROW = 3
_WORD_CHARS = 16
_BOX_CHARS = 80
_FRAME_CHARS = 4


def show_words(words: str, to: Console = screen.out) -> None:
    width = min(_BOX_CHARS, to.width)
    numbered = [f"{number:2}.\u00a0{word}" for number, word in enumerate(words.split(), 1)]
    in_row = max(1, min(_IN_ROW, (width - _FRAME_CHARS) // _WORD_CHARS))
    rows = [numbered[first : first + in_row] for first in range(0, len(numbered), in_row)]
    shown = "\n".join("".join(word.ljust(_WORD_CHARS) for word in row).rstrip() for row in rows)
    to.print(
        Panel(
            Text(f"{shown}\n\n{_NOTE}"), title="Recovery words", border_style="yellow", width=width
        ),
        soft_wrap=False,
    )
