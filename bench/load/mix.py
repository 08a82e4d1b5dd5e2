"""What is asked of the servers, in which proportion."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

_HEADERS = "host: localhost\r\naccept: application/json\r\nauthorization: Bearer {token}\r\n"


class Kind(Struct, frozen=True, kw_only=True):
    """One kind of request, and how often it is sent in proportion to the others."""

    path: str
    weight: float
    method: str = "GET"
    body: dict[str, str] | None = None
    """Sent as JSON, over whatever version there is (`If-Match: *`)."""

    @property
    def name(self) -> str:
        return self.path if self.method == "GET" else f"{self.method} {self.path}"

    @property
    def text(self) -> str:
        head = f"{self.method} {self.path} HTTP/1.1\r\n{_HEADERS}"
        if self.body is None:
            return head + "\r\n"
        body = msgspec.json.encode(self.body).decode()
        return f"{head}if-match: *\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"


LIVE = "/health/live"
# Of a person's page and a device: the account is read everywhere, the rest now and then; one in twenty writes.
MIX: Sequence[Kind] = (
    Kind(path="/api/v1/account", weight=0.60),
    Kind(path="/api/v1/account/sessions", weight=0.15),
    Kind(path="/api/v1/account/audit", weight=0.10),
    Kind(path="/api/v1/account", weight=0.05, method="PATCH", body={"language": "de"}),
    Kind(path=LIVE, weight=0.10),
)
READ: Sequence[Kind] = (Kind(path="/api/v1/account", weight=1.0),)
HELLO: Sequence[Kind] = (Kind(path="/hello", weight=1.0),)
