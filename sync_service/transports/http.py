"""A server over HTTP, as docs/protocol.md lays its API down. The only module that speaks HTTP for sync.

What fails for the moment is tried again a few times, the same bytes each time, with waits that grow and vary; then it is said to be
unavailable, and the engine goes on later. A device lets itself in by signing a challenge with its own key; the account's token is used
only where no device is known yet. No token, key or body ever gets into an error.
"""

import base64
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, NoReturn, TypeVar
from uuid import UUID

import httpx
import msgspec
from msgspec import Meta, Struct

from shared import agreement
from shared.errors import InvalidError
from sync_service import relay
from sync_service.members import control, entries
from sync_service.sealed import keys, manifests, vectors
from sync_service.sealed.frames import FRAME_BYTES_MAX, HEADER_BYTES, PUSH_BYTES_MAX
from sync_service.sealed.keys import Seeds
from sync_service.transport import (
    POSITION_MAX,
    BusyError,
    Known,
    Loss,
    NoVaultError,
    Page,
    Pushed,
    Reached,
    RevokedError,
    Standing,
    UnreadableAnswerError,
)
from sync_service.transports import problems

T = TypeVar("T")

# One less than there are, because a server's first position is counted from 1 here.
_Place = Annotated[int, Meta(ge=0, lt=POSITION_MAX)]

# Nothing that a relay answers is larger: a page of batches with their positions, a list of manifests.
ANSWER_BYTES_MAX = 8 * 1024 * 1024
# A slow line takes minutes for four megabytes; an answer that trickles for longer is none.
ANSWER_SECONDS_MAX = 300.0
TRIES_MAX = 4
_FIRST_WAIT_SECONDS = 0.5
_LAST_WAIT_SECONDS = 20.0
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
# A heartbeat comes every 25 seconds; what is silent for longer than two of them is no connection any more.
_LISTENING = httpx.Timeout(60.0, connect=10.0)
_WAIT_SECONDS_MAX = 50
# A server's event takes a hundred bytes, its challenge 32.
_LINE_BYTES_MAX = 4_096
_NONCE_BYTES_MAX = 1_024
_LATER = frozenset({429, 500, 502, 503, 504})
_OCTETS = "application/octet-stream"
_GENERATION, _HEAD_POS, _MIN_POS = "sunaiva-generation", "sunaiva-head-pos", "sunaiva-min-pos"


class DeviceLogin(Struct, frozen=True):
    """What a device is let in by."""

    vault: bytes
    seeds: Seeds


class _Placed(Struct, frozen=True):
    stream: str
    seq: _Place
    pos: _Place


class _Pushed(Struct, frozen=True):
    generation: str
    head_pos: _Place
    placed: list[_Placed]


class _Vault(Struct, frozen=True):
    id: str
    generation: str
    head_pos: _Place
    min_pos: _Place
    control_seq: _Place
    quota_bytes: int
    used_bytes: int


class _Standing(Struct, frozen=True):
    vault: _Vault
    may_push: bool
    sentence: str | None
    server_time_ms: int


class _Challenge(Struct, frozen=True):
    nonce: Annotated[bytes, Meta(max_length=_NONCE_BYTES_MAX)]


class _Pass(Struct, frozen=True):
    access_token: str


class _Mark(Struct, frozen=True):
    generation: str
    control_seq: _Place
    head_pos: _Place


class HttpTransport:
    """One vault at one server. `account_token` gives the person's token where there is one; `login` is the device's, once it has
    joined. `jitter` is between 0 and 1; `sleep` waits. Close it."""

    def __init__(
        self,
        origin: str,
        *,
        vault: bytes | None,
        login: DeviceLogin | None,
        account_token: Callable[[], str | None],
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        client: httpx.Client | None = None,
    ) -> None:
        if not origin.startswith(
            ("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")
        ):
            raise InvalidError(f"{origin} is not encrypted on the way. Use an address with https.")
        self._origin = origin.rstrip("/")
        self._vault = vault
        self._login = login
        self._account_token = account_token
        self._sleep = sleep
        self._jitter = jitter
        self._client = client or httpx.Client(timeout=_TIMEOUT, follow_redirects=False)
        self._pass: str | None = None
        self._events: Iterator[bytes] | None = None
        self._events_answer: httpx.Response | None = None
        self._told: _Mark | None = None

    def close(self) -> None:
        self._stop_listening()
        self._client.close()

    def standing(self) -> Standing:
        said = _decoded(self._ask("GET", self._of()), _Standing)
        return Standing(
            generation=said.vault.generation,
            head_pos=said.vault.head_pos,
            min_pos=said.vault.min_pos + 1,
            control_seq=said.vault.control_seq,
            may_push=said.may_push,
            reason=said.sentence,
            quota_bytes=said.vault.quota_bytes,
            used_bytes=said.vault.used_bytes,
            server_time_ms=said.server_time_ms,
        )

    def push(self, batches: Sequence[bytes]) -> Pushed:
        said = _decoded(self._ask("POST", self._of("/batches"), body=b"".join(batches)), _Pushed)
        return Pushed(
            generation=said.generation,
            head_pos=said.head_pos,
            placed=tuple((each.seq, each.pos) for each in said.placed),
        )

    def pull(self, after: int, *, generation: str | None) -> Page:
        query: dict[str, str | int] = {"after": after, "max_bytes": PUSH_BYTES_MAX}
        if generation is not None:
            query["generation"] = generation
        answer = self._ask("GET", self._of("/batches"), query=query)
        try:
            head_pos, min_pos = int(answer.headers[_HEAD_POS]), int(answer.headers[_MIN_POS])
            shown = tuple(_positioned(answer.content))
            return Page(
                generation=answer.headers[_GENERATION],
                frames=shown,
                head_pos=head_pos,
                min_pos=min_pos + 1,
            )
        except (KeyError, ValueError):
            raise problems.unreadable() from None

    def control(self, after_seq: int) -> list[bytes]:
        if self._vault is None:
            return []
        try:
            answer = self._ask(
                "GET", self._of("/control"), query={"after": after_seq}, as_person=True
            )
        except NoVaultError:
            return []
        return list(_parts(answer.content))

    def append_control(self, entry: bytes) -> None:
        said = entries.parse(entry)
        if said.kind == entries.FOUND:
            self._vault = control.begin(entry).vault
            body = msgspec.json.encode({"entries": [base64.b64encode(entry).decode()]})
            self._ask("POST", "/api/v1/vaults", body=body, kind="application/json", as_person=True)
        else:
            self._ask("POST", self._of("/control"), body=entry, as_person=True)

    def put_back(self) -> None:
        self._ask("DELETE", self._of("/deletion"), as_person=True)

    def put_segment(self, name: str, sealed: bytes) -> None:
        self._ask("PUT", self._of(f"/segments/{UUID(name)}"), body=sealed)

    def segment(self, name: str) -> bytes:
        return self._ask("GET", self._of(f"/segments/{UUID(name)}")).content

    def put_manifest(self, manifest: bytes) -> None:
        self._ask("PUT", self._of("/manifests"), body=manifest)

    def manifests(self) -> list[bytes]:
        return list(_parts(self._ask("GET", self._of("/manifests")).content))

    def cosign(self, manifest: bytes, signature: bytes) -> None:
        body = msgspec.json.encode({"signature": base64.b64encode(signature).decode()})
        path = self._of(f"/manifests/{UUID(bytes=manifest)}/cosign")
        self._ask("POST", path, body=body, kind="application/json")

    def cosignatures(self, manifest: bytes) -> list[bytes]:
        try:
            said = self._ask("GET", self._of(f"/manifests/{UUID(bytes=manifest)}/cosignatures"))
        except UnreadableAnswerError:
            return []  # a server of before does not know the question
        size = agreement.SIGNATURE_BYTES
        return [said.content[at : at + size] for at in range(0, len(said.content), size)]

    def lost(self, known: Known, *, now_ms: int, thoroughly: bool) -> list[Loss] | None:
        return None

    def put_vector_list(self, raw: bytes) -> None:
        self._ask("PUT", self._of("/manifests"), body=raw)

    def vector_lists(self) -> list[bytes]:
        answer = self._ask("GET", self._of("/manifests"), query={"of": "vectors"})
        # A server that knows no such lists shows snapshots all the same.
        return [raw for raw in _parts(answer.content) if vectors.is_list(raw)]

    def wait(self, reached: Reached, *, seconds: float) -> bool:
        """Listens on one connection for as long as that lasts; where it cannot be had, asks and is answered late."""
        until = time.monotonic() + seconds
        try:
            for line in self._listen():
                is_news = line.startswith(b"data:") and _is_news(
                    msgspec.json.decode(line[5:], type=_Mark), reached
                )
                if is_news or time.monotonic() >= until:
                    return is_news
        except (httpx.HTTPError, httpx.StreamError, msgspec.DecodeError):
            self._stop_listening()
        else:
            self._stop_listening()
        left = max(0, min(_WAIT_SECONDS_MAX, int(until - time.monotonic())))
        query: dict[str, str | int] = {
            "after": reached.head_pos,
            "control_seq": reached.control_seq,
            "seconds": left,
        }
        if reached.generation is not None:
            query["generation"] = reached.generation
        mark = _decoded(self._ask("GET", self._of("/wait"), query=query), _Mark)
        # What a round could not take in, like a list for a later version, is answered at once each time.
        is_told, self._told = mark == self._told, mark
        return not is_told and _is_news(mark, reached)

    # --- asking ------------------------------------------------------------------------------------------

    def _of(self, path: str = "") -> str:
        if self._vault is None:
            raise NoVaultError("This account has no vault here yet.")
        return f"/api/v1/vaults/{UUID(bytes=self._vault)}{path}"

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        query: Mapping[str, str | int] | None = None,
        kind: str = _OCTETS,
        as_person: bool = False,
    ) -> httpx.Response:
        headers = {} if body is None else {"content-type": kind}
        is_let_in_anew = as_person
        tries = 0
        while True:
            tries += 1
            try:
                token = self._token(as_person=as_person)
                answer = self._once(
                    method,
                    path,
                    content=body,
                    params=query,
                    headers=headers | {"authorization": f"Bearer {token}"},
                )
            except httpx.HTTPError:
                later = BusyError("The server cannot be reached.")
            else:
                if answer.is_success:
                    return answer
                if answer.status_code == 401 and not is_let_in_anew:
                    is_let_in_anew, self._pass = True, None
                elif answer.status_code not in _LATER:
                    problems.refuse(answer.status_code, answer.content)
                later = BusyError(
                    f"The server cannot answer now ({answer.status_code}).",
                    after_seconds=_retry_after(answer),
                )
            if tries == TRIES_MAX or later.after_seconds > _LAST_WAIT_SECONDS:
                raise later
            longest = min(_LAST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** (tries - 1))
            self._sleep(max(later.after_seconds, longest * self._jitter()))

    def _once(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """One request. The answer is read as far as answers go, and no further."""
        began = time.monotonic()
        with self._client.stream(method, self._origin + path, **rest) as answer:
            content = bytearray()
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > ANSWER_BYTES_MAX:
                    raise problems.unreadable()
                if time.monotonic() - began > ANSWER_SECONDS_MAX:
                    raise httpx.ReadTimeout("an answer that does not end")
            headers = {
                name: value
                for name, value in answer.headers.items()
                if name not in ("content-encoding", "content-length", "transfer-encoding")
            }
            return httpx.Response(answer.status_code, headers=headers, content=bytes(content))

    def _token(self, *, as_person: bool) -> str:
        person = self._account_token() if as_person or self._login is None else None
        if person is not None:
            return person
        if self._login is None:
            raise RevokedError("Log in first: `sunaiva login`.")
        if self._pass is None:
            self._pass = self._let_in(self._login)
        return self._pass

    def _let_in(self, login: DeviceLogin) -> str:
        path = f"/api/v1/vaults/{UUID(bytes=login.vault)}"
        asked = self._once("POST", f"{path}/challenge")
        if not asked.is_success:
            self._not_let_in(asked)
        nonce = _decoded(asked, _Challenge).nonce
        device = keys.device_id(keys.sign_public(login.seeds))
        statement = relay.token_statement(
            vault=login.vault, device=device, nonce=nonce, origin=self._origin
        )
        signature = agreement.sign(login.seeds.sign, statement)
        body = {
            "device": str(UUID(bytes=device)),
            "nonce": base64.b64encode(nonce).decode(),
            "signature": base64.b64encode(signature).decode(),
        }
        let_in = self._once(
            "POST",
            f"{path}/token",
            content=msgspec.json.encode(body),
            headers={"content-type": "application/json"},
        )
        if not let_in.is_success:
            self._not_let_in(let_in)
        return _decoded(let_in, _Pass).access_token

    def _not_let_in(self, answer: httpx.Response) -> NoReturn:
        if answer.status_code in (401, 403):
            if self._is_lost():
                raise NoVaultError("The server knows nothing of this vault any more.")
            raise RevokedError(_NOT_LET_IN)
        if answer.status_code in _LATER:
            raise httpx.HTTPStatusError("later", request=_NO_REQUEST, response=answer)
        problems.refuse(answer.status_code, answer.content)

    def _is_lost(self) -> bool:
        """Whether the person has no such vault there. Whom a server does not let in it does not tell why."""
        person = self._account_token()
        if person is None or self._vault is None:
            return False
        headers = {"authorization": f"Bearer {person}"}
        answer = self._once("GET", "/api/v1/vaults", headers=headers)
        if not answer.is_success:
            return False
        return str(UUID(bytes=self._vault)) not in {
            one.id for one in _decoded(answer, list[_Vault])
        }

    def _listen(self) -> Iterator[bytes]:
        if self._events is None:
            headers = {
                "authorization": f"Bearer {self._token(as_person=False)}",
                "accept": "text/event-stream",
            }
            request = self._client.build_request(
                "GET",
                self._origin + self._of("/events"),
                headers=headers,
                timeout=_LISTENING,
            )
            answer = self._client.send(request, stream=True)
            self._events_answer = answer
            if not answer.is_success:
                raise httpx.StreamError("no events")
            self._events = _lines(answer)
        return self._events

    def _stop_listening(self) -> None:
        """Also from another thread than the one that listens, which is woken by it."""
        answer, self._events_answer, self._events = self._events_answer, None, None
        if answer is None:
            return
        stream = answer.extensions.get("network_stream")
        line = None if stream is None else stream.get_extra_info("socket")
        with suppress(httpx.HTTPError, OSError):
            if line is not None:
                line.shutdown(socket.SHUT_RDWR)
            answer.close()


def _lines(answer: httpx.Response) -> Iterator[bytes]:
    """At least one, be it empty, for whatever comes: whoever listens looks at the time between two."""
    left = b""
    for piece in answer.iter_bytes():
        *lines, left = (left + piece).split(b"\n")
        if len(left) > _LINE_BYTES_MAX:
            raise httpx.StreamError("a line that does not end")
        yield from lines or [b""]


def _is_news(mark: _Mark, reached: Reached) -> bool:
    """In another generation positions are counted anew: a lower head is news, too."""
    return (
        mark.head_pos > reached.head_pos
        or mark.control_seq > reached.control_seq
        or mark.generation != reached.generation
    )


_NOT_LET_IN = (
    "The server does not let this device in: it was removed from the vault, the account was deleted, or the server has lost the list of "
    "devices."
)
_NO_REQUEST = httpx.Request("POST", "https://sunaiva.invalid")


def _positioned(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(position, batch), each as long as it says itself; what cannot be told apart any more is one last piece, for the engine to judge."""
    offset = 0
    while offset < len(body):
        pos = int.from_bytes(body[offset : offset + 8], "big")
        start = offset + 8
        ct_len = int.from_bytes(body[start + HEADER_BYTES - 4 : start + HEADER_BYTES], "big")
        length = HEADER_BYTES + ct_len + agreement.SIGNATURE_BYTES
        if length > FRAME_BYTES_MAX or start + length > len(body):
            yield pos, body[start : start + FRAME_BYTES_MAX]
            return
        yield pos, body[start : start + length]
        offset = start + length


def _parts(body: bytes) -> Iterator[bytes]:
    """Each with its length (4 bytes) before it."""
    offset = 0
    while offset < len(body):
        length = int.from_bytes(body[offset : offset + 4], "big")
        offset += 4 + length
        if length > manifests.MANIFEST_BYTES_MAX or offset > len(body):
            raise problems.unreadable()
        yield body[offset - length : offset]


def _decoded(answer: httpx.Response, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content, type=shape)
    except msgspec.DecodeError:
        raise problems.unreadable() from None


def _retry_after(answer: httpx.Response) -> float:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdecimal() and len(said) < 6 else 0.0
