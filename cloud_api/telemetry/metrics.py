"""Figures for Prometheus: requests, waiting, pool, jobs, mails. Shown on the admin port only.

Every label comes from a closed set (route templates, not paths; a status; a state), because each new value is a series
that Prometheus keeps for weeks. No label may ever hold what a person sent.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
# Routes are written by us, so this is never reached unless a path slips in where its template belongs.
ROUTES_MAX = 500
# 0.2 s is what the slowest twentieth may take at the most; the rest tells how far from it a server is.
LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)

PoolState = Literal["open", "free", "waiting"]
JobState = Literal["todo", "doing", "succeeded", "failed", "cancelled", "aborted"]
MailOutcome = Literal["sent", "delayed", "refused"]

_POOL_STATISTICS: Mapping[PoolState, str] = {
    "open": "pool_size",
    "free": "pool_available",
    "waiting": "requests_waiting",
}


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._routes: set[str] = set()
        # As many as there are series; to look both up by their labels costs more than to count.
        self._by_answer: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "sunaiva_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "sunaiva_http_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ["route"],
            buckets=LATENCY_BUCKETS,
            registry=self._registry,
        )
        self._in_progress = Gauge(
            "sunaiva_http_requests_in_progress", "Requests being answered.", registry=self._registry
        )
        self._pool = Gauge(
            "sunaiva_database_pool_connections",
            "Database connections of this process, and who waits for one.",
            ["state"],
            registry=self._registry,
        )
        self._database = Gauge(
            "sunaiva_database_up",
            "Whether the database answered this scrape.",
            registry=self._registry,
        )
        self._jobs = Gauge(
            "sunaiva_jobs", "Jobs in the database, by state.", ["state"], registry=self._registry
        )
        self._mails = Counter(
            "sunaiva_mails", "Mails, by what became of them.", ["outcome"], registry=self._registry
        )

    def request_began(self) -> None:
        self._in_progress.inc()

    def request_ended(self, *, method: str, route: str, status: int, seconds: float) -> None:
        self._in_progress.dec()
        route = self._known(route)
        method = method if method in METHODS else OTHER
        of = self._by_answer.get((method, route, status))
        if of is None:
            of = (self._requests.labels(method, route, str(status)), self._seconds.labels(route))
            self._by_answer[(method, route, status)] = of
        counted, lasted = of
        counted.inc()
        lasted.observe(seconds)

    def observe_pool(self, statistics: Mapping[str, int]) -> None:
        """As psycopg_pool's `get_stats` says them."""
        for state, name in _POOL_STATISTICS.items():
            self._pool.labels(state).set(statistics.get(name, 0))

    def observe_database(self, *, is_there: bool) -> None:
        self._database.set(is_there)

    def observe_jobs(self, by_state: Mapping[str, int]) -> None:
        for state in get_args(JobState):
            self._jobs.labels(state).set(by_state.get(state, 0))

    def mail_ended(self, outcome: MailOutcome) -> None:
        self._mails.labels(outcome).inc()

    def exposition(self) -> bytes:
        return generate_latest(self._registry)

    def _known(self, route: str) -> str:
        if route not in self._routes:
            if len(self._routes) >= ROUTES_MAX:
                return OTHER
            self._routes.add(route)
        return route
