"""`sunaiva`: the console script. Decides only which half of the program is loaded.

`sunaiva mcp` runs once for every window of every assistant and must stay small, so it is dispatched before anything that a
person's terminal needs is imported.
"""

import os
import sys
from pathlib import Path

import shared


def main() -> None:
    """Run what the command line says and exit with its code."""
    _refuse_strangers()
    if sys.platform == "win32":
        sys.exit("sunaiva: Sunaiva runs on Linux and macOS so far; Windows is not supported yet.")
    if sys.argv[1:] == ["mcp"]:
        from mcp_server import relay  # noqa: PLC0415 (the point of this module)
        from mcp_server.home import vault_home  # noqa: PLC0415

        sys.exit(relay.main(vault_home(os.environ)))  # noqa: TID251 (settings would not fit into the relay)
    # Everything that numpy multiplies here is small: its threads would wait for each other, and on a busy machine for long
    # (measured: 95th percentile of one scoring 15.7 ms with two threads, 1.6 ms with one).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251 (read by numpy when it is loaded)
    from mcp_server.cli.commands import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:]))


def _refuse_strangers() -> None:
    """`shared` is a common name, and assistants start us in people's project folders: be sure it is ours."""
    ours = Path(__file__).resolve().parents[2] / "shared" / "__init__.py"
    theirs = getattr(shared, "__file__", None)  # None for a bare folder of that name
    if theirs is None or Path(theirs).resolve() != ours:
        sys.exit(
            f"sunaiva: another package named `shared` ({theirs}) hides ours. "
            "Install Sunaiva into an environment of its own: `pipx install sunaiva`."
        )
