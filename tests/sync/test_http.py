"""The way to a server: what goes wrong on it, each by its own name, and never another byte when it is tried again."""

import base64
from collections.abc import Callable, Iterator

import httpx
import msgspec
import pytest

from shared.errors import InvalidError, SunaivaError, UnavailableError
from sync_service.sealed import keys
from sync_service.transport import (
    CompactedError,
    ControlConflictError,
    ForkError,
    GenerationChangedError,
    NoSegmentError,
    NotEntitledError,
    NoVaultError,
    QuotaError,
    Reached,
    RefusedError,
    RevokedError,
    SeqGapError,
    TooLargeError,
    UnreadableAnswerError,
    VaultDeletedError,
)
from sync_service.transports.http import ANSWER_BYTES_MAX, DeviceLogin, HttpTransport

VAULT = bytes(range(16))
SEEDS = keys.new_seeds(lambda count: b"\x03" * count)
STREAM = b"\x01" * 8
Answer = Callable[[httpx.Request], httpx.Response]


class Server:
    """Lets the device in, and answers the rest as a test says."""

    def __init__(self, *answers: Answer | httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []
        self.log_ins = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        if request.url.path.endswith("/challenge"):
            return _json({"nonce": base64.b64encode(b"n" * 32).decode(), "expires_in": 60})
        if request.url.path.endswith("/token"):
            self.log_ins += 1
            return _json({"access_token": f"pass-{self.log_ins}", "token_type": "Bearer"})
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def way(self, **changed: object) -> HttpTransport:
        values: dict[str, object] = {
            "vault": VAULT,
            "login": DeviceLogin(VAULT, SEEDS),
            "account_token": lambda: None,
            "sleep": self.slept.append,
            "jitter": lambda: 0.5,
            "client": httpx.Client(transport=httpx.MockTransport(self)),
        }
        return HttpTransport("https://sync.example.org", **{**values, **changed})  # type: ignore[arg-type]  # a test's own


def _json(said: object, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, content=msgspec.json.encode(said), headers=headers)


def _problem(status: int, code: str, **about: str | int) -> httpx.Response:
    return _json({"code": code, "detail": "So it is.", "about": about}, status)


PUSHED = {
    "generation": "g",
    "head_pos": 7,
    "placed": [{"stream": STREAM.hex(), "seq": 3, "pos": 7}],
}


def test_a_push_is_answered_with_places() -> None:
    server = Server(_json(PUSHED))
    pushed = server.way().push([b"one", b"two"])
    assert pushed.placed == ((3, 7),)
    (request,) = server.asked
    assert request.content == b"onetwo"
    assert request.headers["authorization"] == "Bearer pass-1"
    assert request.headers["content-type"] == "application/octet-stream"


def test_what_fails_for_the_moment_is_tried_again_byte_for_byte() -> None:
    lost = _raising(httpx.ReadError("cut"))
    busy = _problem(503, "unavailable")
    server = Server(lost, busy, _problem(500, "error"), _json(PUSHED))
    assert server.way().push([b"the same"]).head_pos == 7
    assert {request.content for request in server.asked} == {b"the same"}
    assert server.slept == [0.25, 0.5, 1.0]


def test_it_is_not_tried_for_ever() -> None:
    server = Server(_problem(503, "unavailable"))
    with pytest.raises(UnavailableError):
        server.way().push([b"x"])
    assert len(server.asked) == 4


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    server = Server(_json({}, 429, **{"retry-after": "7"}), _json(PUSHED))
    server.way().push([b"x"])
    assert server.slept == [7.0]
    long = Server(_json({}, 429, **{"retry-after": "3600"}))
    with pytest.raises(UnavailableError) as raised:
        long.way().push([b"x"])
    assert getattr(raised.value, "after_seconds", None) == 3600
    assert long.slept == []


def test_a_pass_that_ran_out_is_renewed_once() -> None:
    server = Server(_problem(401, "device_pass_needed"), _json(PUSHED))
    server.way().push([b"x"])
    assert server.log_ins == 2
    never = Server(_problem(401, "device_pass_needed"))
    with pytest.raises(RevokedError):
        never.way().push([b"x"])


def test_a_pass_that_ran_out_while_the_server_was_busy_is_renewed_as_well() -> None:
    ran_out = _problem(401, "device_pass_needed")
    server = Server(_problem(503, "unavailable"), ran_out, _json(PUSHED))
    server.way().push([b"x"])
    assert server.log_ins == 2
    busy = _problem(503, "unavailable")
    late = Server(busy, busy, busy, ran_out)
    with pytest.raises(UnavailableError):
        late.way().push([b"x"])


def test_a_challenge_that_nobody_can_sign_is_no_answer() -> None:
    class Challenger(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/challenge"):
                return _json({"nonce": base64.b64encode(bytes(1 << 16)).decode()})
            return super().__call__(request)

    with pytest.raises(UnreadableAnswerError):
        Challenger(_json(PUSHED)).way().push([b"x"])


NAMED: dict[str, tuple[httpx.Response, type[SunaivaError]]] = {
    "fork": (_problem(409, "batch_fork", stream=STREAM.hex(), seq=4), ForkError),
    "gap": (_problem(409, "batch_gap", stream=STREAM.hex(), expected_seq=4), SeqGapError),
    "generation": (_problem(409, "generation_changed", generation="g2"), GenerationChangedError),
    "compacted": (_problem(410, "compacted", manifest="m"), CompactedError),
    "faster": (_problem(409, "control_conflict"), ControlConflictError),
    "deleted": (_problem(410, "vault_deleted"), VaultDeletedError),
    "no vault": (_problem(404, "vault_not_found"), NoVaultError),
    "no segment": (_problem(404, "segment_not_found"), NoSegmentError),
    "revoked": (_problem(403, "device_revoked"), RevokedError),
    "not entitled": (_problem(403, "not_entitled"), NotEntitledError),
    "full": (_problem(507, "vault_full"), QuotaError),
    "too large": (_problem(413, "too_large"), TooLargeError),
    "too large for something between": (httpx.Response(413), TooLargeError),
    "refused": (_problem(400, "batch_malformed"), RefusedError),
    "something new": (_problem(422, "of_tomorrow"), RefusedError),
    "a redirect": (httpx.Response(302), UnreadableAnswerError),
    "a hotel": (httpx.Response(200, text="<html>Log in to our network"), UnreadableAnswerError),
}


@pytest.mark.parametrize(("answer", "named"), NAMED.values(), ids=list(NAMED))
def test_every_refusal_has_its_name(answer: httpx.Response, named: type[SunaivaError]) -> None:
    with pytest.raises(named) as raised:
        Server(answer).way().push([b"x"])
    assert type(raised.value) is named


def test_a_fork_and_a_gap_say_where() -> None:
    with pytest.raises(ForkError) as fork:
        Server(NAMED["fork"][0]).way().push([b"x"])
    assert (fork.value.stream, fork.value.seq) == (STREAM, 4)
    with pytest.raises(SeqGapError) as gap:
        Server(NAMED["gap"][0]).way().push([b"x"])
    assert (gap.value.stream, gap.value.expected) == (STREAM, 4)


HEADERS = {"sunaiva-generation": "g", "sunaiva-head-pos": "9", "sunaiva-min-pos": "2"}


def _batch(ct_len: int) -> bytes:
    return b"SV" + bytes(114) + ct_len.to_bytes(4, "big") + bytes(ct_len + 64)


def test_a_page_is_taken_apart() -> None:
    one, two = _batch(20), _batch(300)
    body = (8).to_bytes(8, "big") + one + (9).to_bytes(8, "big") + two
    page = Server(httpx.Response(200, content=body, headers=HEADERS)).way().pull(7, generation="g")
    assert page.frames == ((8, one), (9, two))
    assert (page.head_pos, page.min_pos) == (9, 3)


def test_a_page_cut_off_keeps_what_is_whole() -> None:
    one, two = _batch(20), _batch(300)
    body = (8).to_bytes(8, "big") + one + (9).to_bytes(8, "big") + two[:-1]
    page = Server(httpx.Response(200, content=body, headers=HEADERS)).way().pull(7, generation=None)
    assert page.frames == ((8, one), (9, two[:-1]))


def test_an_answer_without_end_is_not_read_to_it() -> None:
    huge = httpx.Response(200, content=bytes(ANSWER_BYTES_MAX + 1), headers=HEADERS)
    with pytest.raises(UnreadableAnswerError):
        Server(huge).way().pull(0, generation=None)


def test_a_way_that_is_not_encrypted_is_refused() -> None:
    with pytest.raises(InvalidError, match="https"):
        HttpTransport(
            "http://sync.example.org",
            vault=None,
            login=None,
            account_token=lambda: None,
            sleep=lambda _: None,
            jitter=lambda: 0.0,
        )


def test_events_are_listened_to_on_one_connection() -> None:
    stream = _event(5) + b":\n\n" + _event(6) + _event(9)
    server = Server(httpx.Response(200, content=stream))
    way = server.way()
    assert way.wait(Reached("g", 1, 5), seconds=60)
    assert way.wait(Reached("g", 1, 6), seconds=60)
    assert [request.url.path[-6:] for request in server.asked] == ["events"]


def test_without_events_the_server_is_asked_and_answers_late() -> None:
    server = Server(httpx.Response(404), _json(_mark(8)))
    assert server.way().wait(Reached("g", 1, 5), seconds=30)
    assert [request.url.path.rsplit("/", 1)[1] for request in server.asked] == ["events", "wait"]
    assert dict(server.asked[1].url.params) | {"seconds": ""} == {
        "after": "5",
        "control_seq": "1",
        "generation": "g",
        "seconds": "",
    }


def test_what_was_told_and_cannot_be_taken_in_is_no_news_a_second_time() -> None:
    """As a list of devices with an entry for a later version: the server would be asked again and again, without a pause."""
    none = httpx.Response(404)
    server = Server(none, _json(_mark(5, control_seq=2)), none, _json(_mark(5, control_seq=2)))
    way = server.way()
    assert way.wait(Reached("g", 1, 5), seconds=30)
    assert not way.wait(Reached("g", 1, 5), seconds=30)


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_line_of_events_without_end_is_not_listened_to(seconds: float) -> None:
    sent: list[bytes] = []

    def endless() -> Iterator[bytes]:
        for _ in range(1_000):
            sent.append(b"data: " + b"x" * 1_000)
            yield sent[-1]

    server = Server(httpx.Response(200, content=endless()), _json(_mark(5)))
    assert not server.way().wait(Reached("g", 1, 5), seconds=seconds)
    assert len(sent) < 100


@pytest.mark.parametrize("way", ["events", "wait"])
def test_a_new_generation_and_a_longer_device_list_are_news_wherever_the_head_is(way: str) -> None:
    for generation, control_seq, is_news in (("g", 3, False), ("new", 3, True), ("g", 4, True)):
        if way == "events":
            event = _event(10, generation=generation, control_seq=control_seq)
            server = Server(httpx.Response(200, content=event), _json(_mark(10, control_seq=3)))
        else:
            mark = _mark(10, generation=generation, control_seq=control_seq)
            server = Server(httpx.Response(404), _json(mark))
        assert server.way().wait(Reached("g", 3, 28), seconds=60) is is_news


def _mark(head_pos: int, *, generation: str = "g", control_seq: int = 1) -> dict[str, object]:
    return {"generation": generation, "control_seq": control_seq, "head_pos": head_pos}


def _event(head_pos: int, *, generation: str = "g", control_seq: int = 1) -> bytes:
    mark = _mark(head_pos, generation=generation, control_seq=control_seq)
    return b"data: " + msgspec.json.encode(mark) + b"\n\n"


def test_no_secret_gets_into_an_error() -> None:
    server = Server(_problem(422, "of_tomorrow"))
    with pytest.raises(SunaivaError) as raised:
        server.way(account_token=lambda: "person-token").push([b"x"])
    said = repr(raised.value) + str(raised.value.__context__)
    assert "pass-1" not in said
    assert "person-token" not in said


def _raising(error: httpx.HTTPError) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    return answer
