"""The load generator, a process of its own: open loop, one thread, epoll, nothing but the standard library.

Every request has an intended moment, drawn before anything is known of the server, and its latency counts from that
moment: a server that stalls cannot slow the questions down, so nothing of the stall is hidden (coordinated omission).
It shares its cores with the server, so it must stay cheap and must tell what it took of them itself.

It reads one JSON object a line on stdin and answers each with one on stdout: `Plan` first, then orders.
"""

import errno
import gc
import json
import math
import random
import re
import resource
import select
import socket
import sys
from array import array
from bisect import bisect
from collections import Counter, deque
from itertools import accumulate
from time import monotonic
from typing import Any

CONNECTING_AT_ONCE = 256  # below the smallest usual backlog, so that no SYN is dropped and resent
CONNECT_SECONDS = 30.0
DRAIN_SECONDS = 3.0
# So many seconds' worth of requests without an answer: the server is far past the 200 ms that are asked of it.
BACKLOG_SECONDS = 1.5
BACKLOG_LEAST = 300
READ_BYTES = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
# Lets the kernel choose the port at connect, so that each source address has all ports of its own (Linux, ip(7)).
_BIND_ADDRESS_NO_PORT = 24
_PENDING = {errno.EINPROGRESS, errno.EAGAIN}


class Request:
    """One kind of request of the mix; `{token}` in the text stands for what its connection sends."""

    def __init__(self, name: str, weight: float, text: str, expected: int) -> None:
        before, _, after = text.partition("{token}")
        self.name = name
        self.weight = weight
        self.before = before.encode()
        self.after = after.encode()
        self.with_token = "{token}" in text
        self.expected = expected


class Connection:
    __slots__ = ("asked", "connected", "number", "received", "socket", "token", "waiting")

    def __init__(self, number: int, token: bytes) -> None:
        self.number = number
        self.token = token
        self.socket: socket.socket | None = None
        self.connected = False
        self.asked: tuple[float, int] | None = None
        """Intended moment and kind of the request that waits for its answer."""
        self.waiting: deque[tuple[float, int]] = deque()
        self.received = b""


class Tally:
    """What one run counted; only requests intended after the warm-up are."""

    def __init__(self, kinds: int) -> None:
        self.seconds = [array("d") for _ in range(kinds)]
        self.late = array("d")
        self.errors: Counter[str] = Counter()
        self.reconnected = 0
        self.intended = 0


class Generator:
    """Owns the connections; `connect` and `run` may be called again and again."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._address = (plan["host"], plan["port"])
        self._sources: list[str] = plan["sources"]
        self._tokens = [token.encode() for token in plan["tokens"]]
        self._requests = [Request(**request) for request in plan["mix"]]
        self._cumulative = list(accumulate(request.weight for request in self._requests))
        self._random = random.Random(plan["seed"])
        self._epoll = select.epoll()
        self._connections: list[Connection] = []
        self._by_number: dict[int, Connection] = {}
        self._tally = Tally(len(self._requests))
        self._measured_from = 0.0
        self._unanswered = 0

    def connect(self, count: int) -> dict[str, Any]:
        """Opens (or closes) connections until there are `count`."""
        while len(self._connections) > count:
            self._close(self._connections.pop())
        began = monotonic()
        while len(self._connections) < count and monotonic() - began < CONNECT_SECONDS:
            waiting = sum(not each.connected for each in self._connections[-CONNECTING_AT_ONCE:])
            if waiting < CONNECTING_AT_ONCE:
                number = len(self._connections)
                connection = Connection(number, self._tokens[number % len(self._tokens)])
                self._connections.append(connection)
                self._open(connection)
                if not connection.connected:
                    self._poll(0)
            else:
                self._poll(0.01)
        ends = monotonic() + DRAIN_SECONDS
        while not all(each.connected for each in self._connections) and monotonic() < ends:
            self._poll(0.05)
        return {
            "connected": sum(each.connected for each in self._connections),
            "seconds": monotonic() - began,
        }

    def run(self, rate: float, warm_up: float, seconds: float) -> dict[str, Any]:
        """Poisson arrivals at `rate`, each on a random connection: every connection then thinks for exponential times."""
        self._poll(0)  # what the server closed meanwhile is opened again first
        self._tally = Tally(len(self._requests))
        started = monotonic()
        self._measured_from = started + warm_up
        ends = self._measured_from + seconds
        cpu = None
        gave_up = False
        following = started + self._random.expovariate(rate)
        backlog_max = max(BACKLOG_LEAST, BACKLOG_SECONDS * rate)
        while True:
            now = monotonic()
            if cpu is None and now >= self._measured_from:
                cpu = _cpu_seconds()
            while following <= now and following < ends:
                self._intend(following)
                following += self._random.expovariate(rate)
            if self._unanswered > backlog_max:
                gave_up = True
                break
            if now >= ends:
                break
            self._poll(max(0.0, min(following, ends) - monotonic()))
        stopped = monotonic()
        used = _cpu_seconds() - (cpu if cpu is not None else _cpu_seconds())
        measured = max(stopped - self._measured_from, 1e-9)
        answered = sum(map(len, self._tally.seconds))
        self._drain()
        return self._figures(
            {
                "rate": rate,
                "seconds": measured,
                "answered_per_s": answered / measured,
                "gave_up": gave_up,
                "cpu_share": used / measured,
            }
        )

    def _intend(self, moment: float) -> None:
        connection = self._connections[int(self._random.random() * len(self._connections))]
        kind = bisect(self._cumulative, self._random.random() * self._cumulative[-1])
        if moment >= self._measured_from:
            self._tally.intended += 1
        self._unanswered += 1
        connection.waiting.append((moment, kind))
        if connection.connected and connection.asked is None:
            if moment >= self._measured_from:
                self._tally.late.append(monotonic() - moment)
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        connection.asked = connection.waiting.popleft()
        request = self._requests[connection.asked[1]]
        text = request.before
        if request.with_token:
            text += connection.token + request.after
        assert connection.socket is not None
        try:
            sent = connection.socket.send(text)
        except OSError:
            self._lost(connection)
            return
        # Some hundred bytes on an empty loopback socket go out whole, or something is badly wrong.
        assert sent == len(text), f"only {sent} bytes of a request were taken"

    def _poll(self, timeout: float) -> None:
        for number, mask in self._epoll.poll(timeout):
            connection = self._by_number.get(number)
            if connection is None:
                continue
            if not connection.connected:
                self._finish_connecting(connection)
            elif mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._receive(connection)

    def _receive(self, connection: Connection) -> None:
        assert connection.socket is not None
        try:
            chunk = connection.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._lost(connection)
            return
        received = connection.received + chunk if connection.received else chunk
        head = received.find(_HEAD_END)
        if head < 0 or not _is_whole(received, head):
            connection.received = received
            return
        connection.received = b""
        if connection.asked is None:  # a 408 before the server closes, for instance
            return
        moment, kind = connection.asked
        connection.asked = None
        self._answered(moment, kind, int(received[9:12]))
        if connection.waiting:
            self._send(connection)

    def _answered(self, moment: float, kind: int, status: int) -> None:
        self._unanswered -= 1
        if moment < self._measured_from:
            return
        self._tally.seconds[kind].append(monotonic() - moment)
        if status != self._requests[kind].expected:
            self._tally.errors[str(status)] += 1

    def _lost(self, connection: Connection) -> None:
        """Closed by the server: a request on its way is an error, an idle connection is only opened again."""
        self._close(connection)
        if connection.asked is not None:
            self._unanswered -= 1
            if connection.asked[0] >= self._measured_from:
                self._tally.errors["lost"] += 1
            connection.asked = None
        self._tally.reconnected += 1
        self._open(connection)

    def _open(self, connection: Connection) -> None:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        opened.bind((self._sources[connection.number % len(self._sources)], 0))
        connection.socket = opened
        connection.connected = False
        self._by_number[opened.fileno()] = connection
        reason = opened.connect_ex(self._address)
        if reason not in _PENDING and reason != 0:
            self._tally.errors[errno.errorcode[reason]] += 1
        self._epoll.register(opened.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _finish_connecting(self, connection: Connection) -> None:
        assert connection.socket is not None
        if connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._tally.errors["refused"] += 1
            self._close(connection)
            self._open(connection)
            return
        connection.connected = True
        self._epoll.modify(connection.socket.fileno(), select.EPOLLIN)
        if connection.waiting and connection.asked is None:
            self._send(connection)

    def _close(self, connection: Connection) -> None:
        if connection.socket is None:
            return
        number = connection.socket.fileno()
        self._epoll.unregister(number)
        del self._by_number[number]
        connection.socket.close()
        connection.socket = None
        connection.connected = False
        connection.received = b""

    def _drain(self) -> None:
        """What is still without an answer counts as late as it is by now, so that leaving it out improves nothing."""
        for connection in self._connections:
            for moment, kind in connection.waiting:
                self._censored(moment, kind)
            connection.waiting.clear()
        ends = monotonic() + DRAIN_SECONDS
        while self._unanswered > 0 and monotonic() < ends:
            self._poll(0.05)
        for connection in self._connections:
            if connection.asked is not None:
                self._censored(*connection.asked)
                connection.asked = None
                self._close(connection)
                self._open(connection)

    def _censored(self, moment: float, kind: int) -> None:
        self._unanswered -= 1
        if moment >= self._measured_from:
            self._tally.seconds[kind].append(monotonic() - moment)
            self._tally.errors["unanswered"] += 1

    def _figures(self, figures: dict[str, Any]) -> dict[str, Any]:
        tally = self._tally
        everything = sorted(second for seconds in tally.seconds for second in seconds)
        return figures | {
            "intended": tally.intended,
            "errors": dict(tally.errors),
            "reconnected": tally.reconnected,
            "ms": milliseconds(everything),
            "late_ms": milliseconds(sorted(tally.late)),
            "by_endpoint": {
                request.name: milliseconds(sorted(seconds))
                for request, seconds in zip(self._requests, tally.seconds, strict=True)
            },
        }


def milliseconds(ordered: list[float]) -> dict[str, float | None]:
    """Nearest-rank percentiles of seconds in ascending order."""
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: ordered[math.ceil(share * len(ordered)) - 1] * 1000 if ordered else None
        for name, share in ranks.items()
    }


def _is_whole(received: bytes, head: int) -> bool:
    length = _LENGTH.search(received, 0, head + 2)
    if length is not None:
        return len(received) >= head + len(_HEAD_END) + int(length[1])
    if _CHUNKED.search(received, 0, head + 2):
        return received.endswith(b"0\r\n\r\n")
    return True


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection is an open file
    generator = Generator(json.loads(sys.stdin.readline()))
    gc.disable()  # nothing here makes cycles, and a pause would look like the server's
    for line in sys.stdin:
        order = json.loads(line)
        answer = (
            generator.connect(order["count"]) if order["do"] == "connect" else
            generator.run(order["rate"], order["warm_up"], order["seconds"])
        )  # fmt: skip
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
