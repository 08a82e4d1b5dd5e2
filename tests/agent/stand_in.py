"""A small product around the transport, run as real processes: `stand_in.py ROLE HOME RUNTIME VERSION OPTION`.

Its one store is the file `notes.jsonl`; a note with a known id is not written again, as in the real vault.
"""

import json
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel

from mcp_server import agent
from mcp_server.http import Address
from mcp_server.settings import load
from mcp_server.terminal import CallContext
from shared.errors import ForbiddenError, NotFoundError, SunaivaError


class Sure(BaseModel):
    sure: bool


class Product:
    def __init__(self, home: Path, version: str, option: str) -> None:
        self.home = home
        self.option = option
        self.server = MCPServer("stand-in", version=version)
        for tool in (self.note, self.gated, self.echo, self.die, self.ask):
            self.server.add_tool(tool)
        self.calls = {
            "count": self.count,
            "refuse": self.refuse,
            "fail": self.fail,
            "fail_apart": self.fail_apart,
            "gated": self.gated_call,
        }

    def start(self) -> None:
        if self.option == "locked":
            raise ForbiddenError("The passphrase is wrong.")
        if self.option == "dies":
            os._exit(3)

    def close(self) -> None:
        (self.home / "closed").write_text("")

    def note(self, id: str) -> int:
        """Stores a note once."""
        path = self.home / "notes.jsonl"
        path.touch()
        known = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if id not in known:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(id) + "\n")
        return len({*known, id})

    def gated(self, id: str) -> int:
        """Stores a note when the gate opens."""
        self.wait_at_gate()
        return self.note(id)

    def echo(self, text: str) -> str:
        """Says the same."""
        return text

    def die(self) -> None:
        """The agent falls over."""
        os._exit(9)

    async def ask(self, question: str, ctx: Context) -> str:
        """Asks the person."""
        answer = await ctx.elicit(question, Sure)
        return f"{answer.action} {getattr(answer, 'data', None)}"

    def count(self, context: CallContext, args: dict[str, Any]) -> Generator[Any, None, Any]:
        yield from range(args["to"])
        return {"by": context.client}

    def refuse(self, context: CallContext, args: dict[str, Any]) -> Generator[Any, None, Any]:
        yield "looking"
        raise NotFoundError("There is no such memory.")

    def fail(self, context: CallContext, args: dict[str, Any]) -> Generator[Any, None, Any]:
        yield "about to fail"
        raise ValueError(args["text"])

    def fail_apart(self, ctx: CallContext, args: dict[str, Any]) -> Generator[Any, None, Any]:
        """A thread of its own fails, and nobody waits for it."""
        yield from ()

        def fail() -> None:
            raise ValueError(args["text"])

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    def gated_call(self, context: CallContext, args: dict[str, Any]) -> Generator[Any, None, Any]:
        try:
            yield "started"
            self.wait_at_gate()
            yield "never seen by a terminal that left"
            self.note("finished")
        finally:
            self.note("closed")

    def wait_at_gate(self) -> None:
        """The test reads from one FIFO that we are here, and writes a byte into the other when we may go on."""
        reached = os.open(self.home / "reached", os.O_WRONLY)
        go = os.open(self.home / "go", os.O_RDONLY)
        os.write(reached, b"!")
        os.read(go, 1)
        os.close(reached)
        os.close(go)


def main(role: str, home: Path, runtime: Path, version: str, option: str) -> int:
    product = Product(home, version, option)
    settings = load({"SUNAIVA_HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)})
    http = Address(port=0) if option == "http" else None
    idle = 0.2 if option == "idle" else None
    drain = 0.1 if option == "hasty" else 10
    try:
        if role == "stdio":
            return agent.serve_stdio(product, settings)
        return agent.serve(
            product, settings, http=http, idle_seconds=idle, drain_seconds=drain, version=version
        )
    except SunaivaError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5]))
