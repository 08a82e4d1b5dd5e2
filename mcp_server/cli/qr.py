"""A QR code in a terminal: half blocks, black on white whatever the terminal's colours, because cameras read no other."""

import segno
from rich.console import Console
from rich.text import Text

# The standard asks for four; phones make do with two, and a code that does not fit on the screen is read by none.
_QUIET = 2
_HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def show(content: str, to: Console) -> bool:
    """Whether it was shown: nobody holds a camera to a file, and a code that is cut off cannot be read."""
    rows = lines(content)
    if not to.is_terminal or len(rows[0]) > to.width:
        return False
    for row in rows:
        to.print(Text(row, style="#000000 on #ffffff"), soft_wrap=True)
    return True


def lines(content: str) -> list[str]:
    code = segno.make(content, error="l", micro=False)
    modules = [list(row) for row in code.matrix_iter(border=_QUIET)]
    if len(modules) % 2:
        modules.append([0] * len(modules[0]))
    return [
        "".join(_HALVES[bool(upper), bool(lower)] for upper, lower in zip(*pair, strict=True))
        for pair in zip(modules[::2], modules[1::2], strict=True)
    ]
