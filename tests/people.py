"""Who uses the product from outside, as real processes: a person with a keyboard, or a script without one."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from mcp_server import client, settings
from mcp_server.rendezvous import ask_to_leave
from tests.computer import Device

SUNAIVA = Path(sys.executable).with_name("sunaiva")
PATIENCE_SECONDS = 180.0  # for a machine that is busy with other things


class Ran(Struct, frozen=True):
    """What came of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout; two of them, or a word beside it, are no JSON."""
        return json.loads(self.out)


class Person:
    """Somebody with this device in front of them."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def runs(self, *arguments: str | bytes | Path, stdin: bytes = b"", **environ: str) -> Ran:
        """One command of a script: no terminal anywhere."""
        done = subprocess.run(
            [SUNAIVA, *arguments],
            env=self.device.environ | environ,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def gets(self, *arguments: str | bytes | Path, stdin: bytes = b"", **environ: str) -> Any:
        """The JSON of a command that is done."""
        ran = self.runs(*arguments, "--json", stdin=stdin, **environ)
        assert ran.code == 0, ran.err
        return ran.json

    def starts(self, *arguments: str | Path, stdin: bytes = b"") -> "subprocess.Popen[bytes]":
        """One command of a script that is not waited for; `ends` does."""
        command = subprocess.Popen(
            [SUNAIVA, *arguments],
            env=self.device.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert command.stdin is not None
        command.stdin.write(stdin)
        command.stdin.close()
        command.stdin = None
        return command

    def ends(self, command: "subprocess.Popen[bytes]") -> Any:
        """The JSON of a command that is done."""
        out, err = command.communicate(timeout=PATIENCE_SECONDS)
        assert command.returncode == 0, err.decode()
        return json.loads(out)

    def types(self, *arguments: str | Path, answers: Sequence[tuple[str, str]] = ()) -> Ran:
        """One command in a terminal: waits for each prompt, then types the answer to it."""
        pid, terminal = pty.fork()
        if pid == 0:
            environ = self.device.environ | {"TERM": "dumb", "COLUMNS": "200"}
            os.execve(SUNAIVA, ["sunaiva", *map(str, arguments)], environ)
        said, since = b"", 0
        try:
            for prompt, answer in answers:
                while (at := said.find(prompt.encode(), since)) < 0:
                    more = _read(terminal)
                    assert more, f"{prompt!r} was never asked: {said.decode()}"
                    said += more
                os.write(terminal, answer.encode())
                since = at + len(prompt.encode())
            # Python misses a Ctrl-C between its prompt and its read, and a person would press it again.
            again = "\x03" if answers and answers[-1][1] == "\x03" else ""
            while more := _read(terminal, nudge=again):
                said += more
        finally:
            os.close(terminal)
            _, status = os.waitpid(pid, 0)
        return Ran(os.waitstatus_to_exitcode(status), said.decode(), "")

    def asks(self, call: str, **arguments: Any) -> Any:
        """The agent directly, for what a test does not look at: a process takes a second."""
        given = {
            name: value for name, value in self.device.environ.items() if name.startswith("SUNAIVA")
        }
        own = settings.load(given | {"XDG_RUNTIME_DIR": str(self.device.runtime)})
        if client.running(own) is None:
            self.gets("agent", "--background")
        with client.connect(own, client="test", command=["false"]) as connection:
            return connection.call(call, arguments)

    def leave(self) -> None:
        """No agent runs when this returns."""
        ask_to_leave(self.device.home)

    def stores(self, text: str, **more: Any) -> str:
        """A memory's id."""
        draft = {"text": text, "source": {"trust": "said_by_user"}, **more}
        found: str = self.asks("remember", drafts=[draft])[0]["id"]
        return found

    def has(self, memory_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.asks("show", id=memory_id)["memory"]
        return found

    def knows(self, text: str) -> bool:
        """Whether this very text is found by its own words."""
        found = self.asks("recall", query=text)["found"]
        return text in [one["memory"]["text"] for one in found]


def _read(terminal: int, nudge: str = "") -> bytes:
    """What the terminal shows next; nothing when its program has ended."""
    while nudge and not select.select([terminal], [], [], 1)[0]:
        os.write(terminal, nudge.encode())
    assert select.select([terminal], [], [], PATIENCE_SECONDS)[0], "the program says nothing"
    with suppress(OSError):  # how Linux says that nobody holds the other end
        return os.read(terminal, 65_536)
    return b""
