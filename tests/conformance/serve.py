"""The real server with the suite's fixtures: a real vault, the product's own HTTP edge, its token asked for.

Run by `suite.py` with SUNAIVA_HOME and the rest of the environment in a temporary folder. Says where it serves in one
line of JSON, and leaves on SIGTERM.
"""

import asyncio
import json
import signal
import sys

from mcp_server import opening, settings
from mcp_server.app import App
from mcp_server.http import Address, http_server, open_port, token, url
from shared.clock import system_clock
from tests.conformance.fixtures import add_fixtures
from tests.conformance.questions import add_questions


def main() -> None:
    here = settings.load()
    access = opening.access(here)
    opening.make_vault(here, "key_file", access, system_clock)
    app = App(lambda: opening.open_here(here, access, system_clock))
    add_fixtures(app.server)
    add_questions(app.server)
    app.start()
    try:
        asyncio.run(_serve(app, token(here.home)))
    finally:
        app.close()


async def _serve(app: App, secret: str) -> None:
    port = open_port(Address(port=0))
    http = http_server(app.server, port, secret)

    def leave() -> None:
        http.should_exit = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    port.listen()  # whoever reads the line may connect
    sys.stdout.write(json.dumps({"url": url(port), "token": secret}) + "\n")
    sys.stdout.flush()
    await http.serve(sockets=[port])


if __name__ == "__main__":
    main()
