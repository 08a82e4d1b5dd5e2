"""What the engine decides, without doing any of it: which batch may be applied, what goes into the next one, when to ask a person,
when to try again. Pure: everything it looks at is an argument.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from sync_service import relay
from sync_service.alarms import Kind
from sync_service.changes.ops import OPS_PER_BATCH_MAX, Head
from sync_service.device.inbox import Applied
from sync_service.members import control
from sync_service.members.control import Members
from sync_service.sealed import frames
from sync_service.sealed.frames import Frame

# A message goes out at once after a quiet time, then at most one in so long: what is typed quickly travels together, and is there within
# two seconds all the same.
DEBOUNCE_MS = 1_000
# One command may forget in many pieces: what is forgotten travels when no more has come for so long, so that others can tell how much it is.
FORGETS_REST_MS = 1_000
# Without anything to say a device shows its heads once a day: so a server that holds back everything is found out.
BEACON_MS = 24 * 3_600_000
# Nothing from a relay for so long is worth telling; laptops rest over a weekend.
STALE_MS = 7 * 24 * 3_600_000
CLOCK_OFF_MS = 120_000
# What a batch is filled up to: large enough that its 200 bytes and the compression's start cost little, small enough to resend.
BATCH_BYTES = 512 * 1024
# Operations applied in one transaction, and bytes of opened batches held for it.
APPLY_OPS = 4_096
# The same while a device reads its history, after the first ones are there: ids come in no order, so a transaction writes most pages of
# their indexes anew, and a quarter of the transactions is done in half the time. What is written here meanwhile waits for up to a second.
APPLY_OPS_OF_HISTORY = 16_384
APPLY_BYTES = 8 * 1024 * 1024
# How much forgetting by others is done without asking, all together of which none came an hour after the one before. A tidy-up of a
# small vault is no catastrophe.
FORGETS_WINDOW_MS = 3_600_000
# What is neither little nor much may be the first part of much: the rest of it comes within so long.
FORGETS_QUIET_MS = 60_000
FORGETS_MIN = 20
FORGETS_MAX = 500
FORGETS_PER_CENT = 20
_CONTROL_SEQ = slice(40, 44)  # of a batch's header
_REREAD_FIRST_MS = 60_000
_REREAD_LAST_MS = 24 * 3_600_000


class Fits(Struct, frozen=True):
    """The next of its stream, by who it says: to be opened."""


class Seen(Struct, frozen=True):
    """Applied before."""


class Waits(Struct, frozen=True):
    """Genuine, and something before it in its stream is not there."""


class Elsewhere(Struct, frozen=True):
    """On this device's own stream, and not by this copy of it."""


class Wrong(Struct, frozen=True):
    """Not applied, whatever else is."""

    kind: Kind
    sentence: str
    again: bool
    """Whether the relay may show something better at this place another time."""


Weighed = Literal["forget", "wait", "ask"]
Verdict = Fits | Seen | Waits | Elsewhere | Wrong

_SENTENCES: Mapping[Kind, str] = {
    "wrong_vault": "The server shows something of another vault. It was not used.",
    "unknown_device": "The server shows something of a device that nobody has admitted to this vault. It was not used.",
    "forged": "The server shows something that the device it names did not sign. It was not used; if it stays, the server or the "
    "way to it is not to be trusted.",
    "revoked_device": "A device that was removed from this vault has sent something since. It was not used.",
    "fork": "Two different things stand at the same place of what one device wrote. Either that device runs twice, or the server "
    "shows different things to different devices.",
    "downgrade": "The server shows something encrypted in a weaker way than this vault demands. It was not used.",
    "device_list_withheld": "The server shows something that was written under a newer list of devices than it shows.",
}


def judge(
    members: Members, frame: Frame, head: Applied | None, known: bytes | None, *, is_own: bool
) -> Verdict:
    """What to do with a batch as it came. `head` is how far its stream is here; `known` the hash of what was applied at its place."""
    header = frame.header
    refused = relay.authenticate(members, frame)
    if refused is not None:
        late = header.control_seq > members.seq and refused.reason == "unknown_device"
        return _wrong("device_list_withheld" if late else refused.reason, again=True)
    owner = control.owner_of(members, header.stream)
    assert owner is not None, "it was authenticated"
    at = 0 if head is None else head.seq
    if header.seq <= at:
        if known is None or known == frame.hash:
            return Seen()
        return Elsewhere() if is_own else _wrong("fork", again=False)
    if is_own:
        return Elsewhere()
    if not control.counts(owner, header.stream, header.seq, frame.hash):
        return _wrong("revoked_device", again=False)
    if header.control_seq > members.seq:
        return _wrong("device_list_withheld", again=True)
    if header.seq > at + 1:
        return Waits()
    if header.prev_hash != (frames.NO_HASH if head is None else head.hash):
        return _wrong("fork", again=True)
    if header.suite < control.floor_at(members, header.control_seq):
        return _wrong("downgrade", again=False)
    return Fits()


def control_seq_of(raw: bytes) -> int:
    """What a batch says of the device list, before anything about it is checked."""
    return int.from_bytes(raw[_CONTROL_SEQ], "big")


def contents(
    outbox: Iterable[tuple[int, bytes]],
) -> Iterator[Sequence[tuple[int, bytes]]]:
    """The outbox in portions of one batch each."""
    portion: list[tuple[int, bytes]] = []
    size = 0
    for number, op in outbox:
        if portion and (len(portion) == OPS_PER_BATCH_MAX or size + len(op) > BATCH_BYTES):
            yield portion
            portion, size = [], 0
        portion.append((number, op))
        size += len(op)
    if portion:
        yield portion


def seal_in_ms(
    *, waiting: int, sealed_ms: int, now_ms: int, forgot_ms: int | None = None
) -> int | None:
    """In how long the next batch is due; `None` if there is nothing to say. `forgot_ms`: when the last was forgotten that waits."""
    since = now_ms - sealed_ms
    if since < 0 or since >= BEACON_MS:  # a clock that went back must not hold anything back
        return 0
    if waiting == 0:
        return None
    if waiting >= OPS_PER_BATCH_MAX:
        return 0
    ago = FORGETS_REST_MS if forgot_ms is None else now_ms - forgot_ms
    rest = FORGETS_REST_MS - ago if ago >= 0 else 0
    return max(0, DEBOUNCE_MS - since, rest)


def weigh_forgets(*, before: int, more: int, present: int, quiet_ms: int) -> Weighed:
    """What to do with what others forget: `before` lately, `more` now, of `present` memories, and nothing more for `quiet_ms`."""
    together = before + more
    if together < FORGETS_MIN:
        return "forget"
    if together > FORGETS_MAX or together * 100 > (present + before) * FORGETS_PER_CENT:
        return "ask"
    return "wait" if 0 <= quiet_ms < FORGETS_QUIET_MS else "forget"


def reread_in_ms(times: int) -> int:
    """How long to wait before the relay is asked again for what it showed wrongly `times` times."""
    return min(_REREAD_FIRST_MS << min(times, 20), _REREAD_LAST_MS)


def is_reread_due(at_ms: int, now_ms: int) -> bool:
    """Whether it is time for that; also if the clock was put back since: then the time that was set may be years away."""
    return not 0 < at_ms - now_ms <= _REREAD_LAST_MS


def is_over(since_ms: int, now_ms: int, lasts_ms: int) -> bool:
    """Whether so long has passed; also if it began in what is now the future, because the clock was put back."""
    return not 0 <= now_ms - since_ms < lasts_ms


def compare_claim(
    claim: Head, *, reached: int, known: bytes | None
) -> Literal["gap", "fork"] | None:
    """What another device's word about a stream means for what was applied here, up to `reached`."""
    if claim.seq > reached:
        return "gap"
    return "fork" if known is not None and known != claim.hash else None


def _wrong(kind: Kind, *, again: bool) -> Wrong:
    return Wrong(kind, _SENTENCES.get(kind, "A batch was not as it must be."), again)
