"""What a server stores and what it refuses, before anything is written."""

import hashlib
from collections.abc import Callable

import pytest
from msgspec import structs

from shared.agreement import is_signed, sign
from sync_service.members import amend, control
from sync_service.members.control import Members
from sync_service.relay import (
    Admitted,
    Duplicate,
    Fork,
    Gap,
    Refused,
    StreamHead,
    Verdict,
    admit,
    is_active,
    may_compact,
    token_statement,
)
from sync_service.sealed.frames import NO_HASH, Frame, parse, seal
from sync_service.sealed.keys import sign_public, stream_id
from tests.sync.circle import by, circle, device_of, epoch_key, revoking, seeds_of


def stream_of(name: str) -> bytes:
    return stream_id(sign_public(seeds_of(name)), 1)


def batch(
    members: Members,
    name: str = "ann",
    seq: int = 1,
    prev_hash: bytes = NO_HASH,
    content: bytes = b"sealed",
    **changed: object,
) -> Frame:
    values = {
        "vault": members.vault,
        "stream": stream_of(name),
        "seq": seq,
        "epoch": members.epoch,
        "control_seq": members.seq,
        "prev_hash": prev_hash,
        "epoch_key": epoch_key(members.epoch),
        "sign_seed": seeds_of(name).sign,
        "salt": hashlib.sha256(content).digest()[:24],
        **changed,
    }
    return seal(content, **values)  # type: ignore[arg-type] # tests name what they change


def altered(frame: Frame, place: int) -> Frame:
    raw = bytearray(frame.raw)
    raw[place] ^= 1
    return parse(bytes(raw))


FAMILY = circle("ann", "ben").members
FIRST = batch(FAMILY)
SECOND = batch(FAMILY, seq=2, prev_hash=FIRST.hash)
HEAD = StreamHead(1, FIRST.hash)
OTHER_FIRST = batch(FAMILY, content=b"of a clone")
OTHER_SECOND = batch(FAMILY, seq=2, prev_hash=OTHER_FIRST.hash)
STRICTER = control.extend(FAMILY, amend.policy(FAMILY, by("ann"), suite_floor=2, min_reader=1))


@pytest.mark.parametrize(
    ("members", "frame", "head", "verdict"),
    [
        pytest.param(FAMILY, FIRST, None, Admitted(HEAD), id="the first"),
        pytest.param(FAMILY, SECOND, HEAD, Admitted(StreamHead(2, SECOND.hash)), id="the next"),
        pytest.param(FAMILY, FIRST, HEAD, Duplicate(), id="sent again"),
        pytest.param(FAMILY, OTHER_FIRST, HEAD, Fork(stream_of("ann"), 1), id="a clone's"),
        pytest.param(FAMILY, OTHER_SECOND, HEAD, Refused("reordered"), id="after a clone's"),
        pytest.param(FAMILY, SECOND, None, Gap(1), id="one is missing"),
        pytest.param(
            structs.replace(FAMILY, vault=bytes(16)),
            FIRST,
            None,
            Refused("wrong_vault"),
            id="of another vault",
        ),
        pytest.param(
            FAMILY, batch(FAMILY, "eve"), None, Refused("unknown_device"), id="of a stranger"
        ),
        pytest.param(
            FAMILY,
            batch(FAMILY, sign_seed=seeds_of("ben").sign),
            None,
            Refused("forged"),
            id="signed by another member",
        ),
        pytest.param(STRICTER, FIRST, None, Admitted(HEAD), id="from before the floor rose"),
        pytest.param(
            STRICTER,
            batch(STRICTER),
            None,
            Refused("downgrade"),
            id="below the floor",
        ),
        pytest.param(
            FAMILY,
            batch(FAMILY, control_seq=FAMILY.seq + 1),
            None,
            Refused("device_list_withheld"),
            id="under a later device list",
        ),
    ],
)
def test_each_batch_gets_its_verdict(
    members: Members, frame: Frame, head: StreamHead | None, verdict: Verdict
) -> None:
    assert admit(members, frame, head) == verdict


def test_an_old_batch_that_is_sent_again_is_compared_with_what_is_stored() -> None:
    head = StreamHead(2, SECOND.hash)
    assert admit(FAMILY, FIRST, head, stored=FIRST.hash) == Duplicate()
    assert admit(FAMILY, FIRST, head, stored=OTHER_FIRST.hash) == Fork(stream_of("ann"), 1)


def test_nobody_is_told_that_a_batch_is_stored_which_was_compacted_away() -> None:
    assert admit(FAMILY, FIRST, StreamHead(2, SECOND.hash)) == Fork(stream_of("ann"), 1)


@pytest.mark.parametrize("place", [20, 40, 60, 76, 100, 125, -70, -1])
def test_no_flipped_bit_gets_in(place: int) -> None:
    assert isinstance(admit(FAMILY, altered(SECOND, place), HEAD), Refused)


def revoked_at(last: Frame | None) -> Members:
    lasts = {stream_of("ann"): (0, NO_HASH) if last is None else (last.header.seq, last.hash)}
    return control.extend(FAMILY, amend.revoke(FAMILY, by("ben"), device_of("ann"), lasts))


@pytest.mark.parametrize(
    ("members", "frame", "head", "verdict"),
    [
        (revoked_at(FIRST), SECOND, HEAD, Refused("revoked_device")),
        (revoked_at(None), FIRST, None, Refused("revoked_device")),
        (revoked_at(FIRST), OTHER_FIRST, None, Refused("revoked_device")),
        (revoked_at(FIRST), FIRST, None, Admitted(HEAD)),
        (revoked_at(SECOND), FIRST, None, Admitted(HEAD)),
    ],
    ids=["later", "never any", "back-dated", "the last, sent again by others", "before the last"],
)
def test_a_removed_device_adds_nothing_after_what_its_removal_names(
    members: Members, frame: Frame, head: StreamHead | None, verdict: Verdict
) -> None:
    assert admit(members, frame, head) == verdict


def test_only_a_device_of_today_is_active() -> None:
    without = control.extend(FAMILY, revoking(FAMILY, "ann", by("ben")))
    assert [is_active(without, device_of(name)) for name in ("ann", "ben", "eve")] == [
        False,
        True,
        False,
    ]


ALONE = circle("ann").members
LEFT = control.extend(FAMILY, revoking(FAMILY, "ben", by("ann")))


@pytest.mark.parametrize(
    ("members", "cosigners", "may"),
    [
        (FAMILY, {"ben"}, True),
        (FAMILY, {"ann", "ben"}, True),
        (FAMILY, {"ann"}, False),
        (FAMILY, set(), False),
        (FAMILY, {"eve"}, False),
        (ALONE, {"ann"}, True),
        (ALONE, set(), False),
        (LEFT, {"ben"}, False),
        (LEFT, {"ann"}, True),
    ],
)
def test_a_snapshot_needs_the_word_of_a_second_device_if_there_is_one(
    members: Members, cosigners: set[str], may: bool
) -> None:
    signed = {device_of(name) for name in cosigners}
    assert may_compact(members, device_of("ann"), signed) is may


@pytest.mark.parametrize(
    "change",
    [
        lambda said: {**said, "vault": bytes(16)},
        lambda said: {**said, "device": bytes(16)},
        lambda said: {**said, "nonce": b"another"},
        lambda said: {**said, "origin": "https://evil.example"},
        lambda said: {**said, "nonce": said["nonce"] + b"h", "origin": said["origin"][1:]},
    ],
    ids=["vault", "device", "nonce", "server", "where one ends and the other begins"],
)
def test_a_log_in_is_good_for_one_vault_device_nonce_and_server(
    change: Callable[[dict[str, object]], dict[str, object]],
) -> None:
    said: dict[str, object] = {
        "vault": FAMILY.vault,
        "device": device_of("ann"),
        "nonce": b"once",
        "origin": "https://example.org",
    }
    seeds = seeds_of("ann")
    signature = sign(seeds.sign, token_statement(**said))  # type: ignore[arg-type] # built above
    changed = token_statement(**change(said))  # type: ignore[arg-type] # built above
    assert not is_signed(sign_public(seeds), changed, signature)
