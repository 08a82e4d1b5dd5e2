"""Two devices that pair: carries the messages of `sync_service.members.pairing` through a mailbox, and waits for the other side.

Each side is a conversation of a few steps with a person in between; the agent holds it from one call of the terminal to the next.
"""

import secrets
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from msgspec import Struct

from shared.clock import Clock, to_ms
from shared.errors import InvalidError
from sync_service.members import codes, pairing
from sync_service.members.codes import Invitation
from sync_service.members.pairing import Met, Revealed, Welcome, WrongCodeError
from sync_service.sealed import keys
from sync_service.sealed.keys import Seeds
from sync_service.transport import Mailboxes

# As long as a code is good. A poll costs a request, and a person who compares numbers waits for several of them.
POLL_SECONDS = 0.5
_SLOTS = {
    pairing.OFFER: "offer",
    pairing.CHALLENGE: "challenge",
    pairing.REVEAL: "reveal",
    pairing.WELCOME: "welcome",
}

Result = TypeVar("Result")
Steps = Generator[dict[str, Any], None, Result]


class Conversation(Struct, frozen=True, kw_only=True):
    """What both sides need."""

    mailboxes: Mailboxes
    clock: Clock
    cancelled: Callable[[], bool] = lambda: False


class Newcomer:
    """The device that would join. With `typed`, a one-time code of the other side, no numbers are compared."""

    def __init__(self, name: str, *, clock: Clock, typed: str | None = None) -> None:
        self.seeds = keys.new_seeds(secrets.token_bytes)
        self._name = name
        self._headless = typed is not None
        secret = secrets.token_bytes(codes.SECRET_BYTES) if typed is None else _secret(typed)
        self._until_ms = to_ms(clock()) + codes.CODE_MS_MAX
        self._secret = secret
        self._offered = pairing.offer(
            self.seeds,
            secret=secret,
            nonce=secrets.token_bytes(pairing.NONCE_BYTES),
            is_headless=self._headless,
        )
        self._revealed: Revealed | None = None
        self._box = codes.mailbox_of(secret)

    @property
    def code(self) -> str:
        return codes.code_of(self._secret)

    @property
    def qr(self) -> str:
        return codes.qr_text(self._secret, self._offered.commitment)

    def meet(self, talk: Conversation) -> Steps[str]:
        """Wait for the other device; the number to compare."""
        self._box = yield from self._free_box(talk)
        with self._clearing(talk, done=False):
            challenge = yield from _awaited(
                talk,
                self._box,
                pairing.CHALLENGE,
                "Waiting for the other device",
                until_ms=self._until_ms,
            )
            self._revealed = pairing.reveal(self._offered, challenge, name=self._name)
            talk.mailboxes.put(self._box, _SLOTS[pairing.REVEAL], self._revealed.message)
            return self._revealed.number

    def join(self, talk: Conversation, *, is_same_number: bool) -> Steps[Welcome]:
        """What the member tells, once its person has said yes, too."""
        assert self._revealed is not None, "it has not met anybody"
        with self._clearing(talk, done=True):
            if not (is_same_number or self._headless):
                return pairing.join(self._revealed, b"", is_same_number=False)
            welcome = yield from _awaited(
                talk,
                self._box,
                pairing.WELCOME,
                "Waiting for the yes at the other device",
                until_ms=self._until_ms,
            )
            return pairing.join(self._revealed, welcome, is_same_number=is_same_number)

    @contextmanager
    def _clearing(self, talk: Conversation, *, done: bool) -> Iterator[None]:
        """Take the messages away once nobody reads them any more. With a one-time code that is not before it has worked: an offer that
        lies there is a try that was made."""
        try:
            yield
        except BaseException:
            if not self._headless:
                talk.mailboxes.clear(self._box)
            raise
        if done:
            for attempt in range(codes.TRIES_MAX if self._headless else 1):
                talk.mailboxes.clear(codes.mailbox_of(self._secret, attempt=attempt))

    def _free_box(self, talk: Conversation) -> Steps[bytes]:
        """The mailbox of the first try in which nobody has left an offer."""
        yield from ()
        tries = codes.TRIES_MAX if self._headless else 1
        for attempt in range(tries):
            box = codes.mailbox_of(self._secret, attempt=attempt)
            if talk.mailboxes.take(box, _SLOTS[pairing.OFFER]) is None:
                talk.mailboxes.put(box, _SLOTS[pairing.OFFER], self._offered.message)
                return box
        raise codes.ExpiredCodeError("This code was tried too often. Make a new one.")


class Member:
    """The device that admits. With `typed`, what the newcomer shows; without, it gives out a one-time code."""

    def __init__(
        self, seeds: Seeds, vault: bytes, *, clock: Clock, typed: str | None = None
    ) -> None:
        self._seeds = seeds
        self._vault = vault
        self._headless = typed is None
        secret, self._commitment = (
            (secrets.token_bytes(codes.SECRET_BYTES), None)
            if typed is None
            else codes.read_code(typed)
        )
        self._invitation: Invitation = codes.invite(secret, to_ms(clock()))
        self.met: Met | None = None
        self._box = codes.mailbox_of(secret)

    @property
    def code(self) -> str:
        return codes.code_of(self._invitation.secret)

    def meet(self, talk: Conversation) -> Steps[Met]:
        """Wait for the newcomer; who it is, and the number to compare."""
        while True:
            codes.demand_open(self._invitation, to_ms(talk.clock()))
            self._box = codes.mailbox_of(
                self._invitation.secret, attempt=codes.attempt_of(self._invitation)
            )
            try:
                self.met = yield from self._met(talk)
            except WrongCodeError:
                if not self._headless:
                    raise
                self._invitation = codes.tried(self._invitation)
            else:
                return self.met

    def welcome(self, talk: Conversation, told: Welcome, *, is_same_number: bool) -> None:
        assert self.met is not None, "it has not met anybody"
        message = pairing.welcome(self.met, told, is_same_number=is_same_number)
        talk.mailboxes.put(self._box, _SLOTS[pairing.WELCOME], message)

    def _met(self, talk: Conversation) -> Steps[Met]:
        until_ms = self._invitation.until_ms
        doing = "Waiting for the new device"
        offer = yield from _awaited(talk, self._box, pairing.OFFER, doing, until_ms=until_ms)
        challenged = pairing.challenge(
            self._seeds,
            offer,
            vault=self._vault,
            nonce=secrets.token_bytes(pairing.NONCE_BYTES),
            secret=self._invitation.secret,
            is_headless=self._headless,
            commitment=self._commitment,
        )
        talk.mailboxes.put(self._box, _SLOTS[pairing.CHALLENGE], challenged.message)
        reveal = yield from _awaited(talk, self._box, pairing.REVEAL, doing, until_ms=until_ms)
        return pairing.meet(challenged, reveal)


def _secret(typed: str) -> bytes:
    secret, commitment = codes.read_code(typed)
    if commitment is not None:
        raise InvalidError(
            "This is the code of a new device, and this one is new, too. Give it on the device that syncs already."
        )
    return secret


def _awaited(
    talk: Conversation, box: bytes, step: int, doing: str, *, until_ms: int
) -> Steps[bytes]:
    pause = threading.Event()
    while (left_ms := until_ms - to_ms(talk.clock())) > 0:
        if talk.cancelled():
            raise InvalidError("The pairing was broken off. Nothing was shared.")
        message = talk.mailboxes.take(box, _SLOTS[step])
        if message is not None:
            return message
        left = left_ms // 1_000
        yield {"doing": f"{doing} ({left // 60}:{left % 60:02} left)"}
        pause.wait(POLL_SECONDS)
    raise codes.ExpiredCodeError(
        "The other device did not answer in time, and the code has run out. Nothing was shared. Start again."
    )
