"""The server that people run, its database embedded, with a counting line in front; and somebody who has an account there."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.load.servers import HOST, free_port
from tests.e2e.clouds import Browser, Cloud, signed_up

_CHUNK = 65_536


class Counter:
    """Bytes in both directions; whoever counts reads it before and after."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes = 0

    def add(self, number: int) -> None:
        with self._lock:
            self.bytes += number


class Counted(Cloud):
    """The cloud is reached through a proxy at its address; it listens elsewhere."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        super().__init__(home, environ)
        self.counter = Counter()
        self._behind = free_port()
        self._environ["SUNAIVA_CLOUD_PORT"] = str(self._behind)
        self._front = socket.create_server((HOST, self._port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        super().close()
        self._front.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._front.accept()
                try:
                    far = socket.create_connection((HOST, self._behind))
                except OSError:
                    near.close()
                    continue
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while said := one.recv(_CHUNK):
                self.counter.add(len(said))
                other.sendall(said)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextmanager
def counted_cloud() -> Iterator[tuple[Counted, Browser]]:
    with tempfile.TemporaryDirectory(prefix="sunaiva-sync-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # PostgreSQL may run as another user
        cloud = Counted(home, dict(os.environ))
        try:
            cloud.start()
            yield cloud, signed_up(cloud)
        finally:
            cloud.close()


@contextmanager
def signed_up_cloud() -> Iterator[tuple[Counted, str]]:
    with counted_cloud() as (cloud, browser):
        yield cloud, browser.token
