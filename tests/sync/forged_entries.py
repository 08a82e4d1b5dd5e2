"""Entries of a device list that nobody may take: what the server, a stranger, a removed device or a member could try.

Each is written for a list in which `desk` is a member and `lamp` was removed; the server has none of their keys.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from shared import agreement
from sync_service.changes.ops import MalformedError
from sync_service.members import amend, entries
from sync_service.members.control import (
    DowngradeError,
    ForgedListError,
    OutOfOrderError,
    RevokedDeviceError,
    WrongVaultError,
)
from sync_service.members.entries import ADD, NewerListError, Signer
from sync_service.sealed import keys
from sync_service.sealed.frames import NO_HASH
from tests.sync.circle import (
    Circle,
    adding,
    by,
    by_words,
    device_of,
    epoch_key,
    founded,
    revoking,
    rotating,
    seeds_of,
    written,
)


def altered(entry: bytes, at: int) -> bytes:
    return entry[:at] + bytes([entry[at] ^ 1]) + entry[len(entry) + at + 1 :]


def told_otherwise(made: Circle, **changed: Any) -> bytes:
    """A device's introduction, altered after it was signed, in an entry of a member."""
    honest = entries.introduce(seeds_of("phone"), vault=made.members.vault)
    newcomer = msgspec.structs.replace(honest, **changed)
    return amend.add(made.members, by("desk"), newcomer, sealed_name=b"", epoch_key=epoch_key(1))


def introduced(made: Circle, wrap: bytes) -> tuple[object, ...]:
    honest = entries.introduce(seeds_of("phone"), vault=made.members.vault)
    return (honest.sign_public, honest.kem_public, honest.incarnation, b"", honest.proof, wrap)


def sealed_to(made: Circle, kem_public: bytes) -> bytes:
    said = (keys.sign_public(seeds_of("phone")), kem_public, 1, b"", bytes(64), bytes(WRAP_BYTES))
    return written(made.members, ADD, said, by("desk"))


def rotated_body(made: Circle, **changed: Any) -> bytes:
    body = dict(
        zip(
            ("epoch", "check", "wraps", "recovery", "previous"),
            entries.body(
                entries.parse(rotating(made.members, by("desk"))),
                tuple[int, bytes, list[tuple[bytes, bytes]], bytes, bytes | None],
            ),
            strict=True,
        )
    )
    return written(made.members, entries.ROTATE, tuple({**body, **changed}.values()), by("desk"))


def recovered(made: Circle, proof: Callable[[bytes, bytes], bytes]) -> bytes:
    new = seeds_of("new words")
    sign, kem = keys.sign_public(new), keys.kem_public(new)
    wrap = keys.wrap_epoch_key(epoch_key(1), kem, vault=made.members.vault, epoch=1)
    said = (sign, kem, proof(sign, kem), wrap)
    return written(made.members, entries.RECOVERY, said, by("desk"))


def of_another_vault(made: Circle) -> bytes:
    other = founded("other words")
    return adding(other.members, "phone", by_words("other words"))


WRAP_BYTES = 32 + agreement.SEALED_TO_EXTRA_BYTES
ZEROS = {"prev_hash": bytes(32)}

ATTACKS: dict[str, tuple[type[Exception], Callable[[Circle], bytes]]] = {
    "an entry by a stranger": (
        ForgedListError,
        lambda made: adding(made.members, "phone", by("stranger")),
    ),
    "an entry by other words": (
        ForgedListError,
        lambda made: adding(made.members, "phone", by_words("other words")),
    ),
    "signed by one in the name of another": (
        ForgedListError,
        lambda made: (
            adding(made.members, "phone", by("desk"))[:-64]
            + agreement.sign(seeds_of("lamp").sign, b"sunaiva/control/1")
        ),
    ),
    "a signature altered": (
        ForgedListError,
        lambda made: altered(adding(made.members, "phone", by("desk")), -1),
    ),
    "a signer of an unknown kind": (
        ForgedListError,
        lambda made: adding(made.members, "phone", Signer(2, seeds_of("desk"))),
    ),
    "a member as the words": (
        ForgedListError,
        lambda made: adding(made.members, "phone", by_words("desk")),
    ),
    "the words as a member": (
        ForgedListError,
        lambda made: adding(made.members, "phone", by("words")),
    ),
    "an entry twice": (OutOfOrderError, lambda made: made.chain[-1]),
    "an older entry again": (OutOfOrderError, lambda made: made.chain[1]),
    "the first entry again": (OutOfOrderError, lambda made: made.chain[0]),
    "an entry left out": (
        OutOfOrderError,
        lambda made: written(made.members, ADD, (), by("desk"), seq=made.members.seq + 2),
    ),
    "another entry before it": (
        OutOfOrderError,
        lambda made: written(made.members, ADD, (), by("desk"), **ZEROS),
    ),
    "a second beginning": (
        OutOfOrderError,
        lambda made: written(made.members, entries.FOUND, (), by_words("words")),
    ),
    "another vault's entry": (WrongVaultError, of_another_vault),
    "an entry by a removed device": (
        RevokedDeviceError,
        lambda made: adding(made.members, "phone", by("lamp")),
    ),
    "a removed device lets itself in again": (
        RevokedDeviceError,
        lambda made: adding(made.members, "lamp", by("lamp")),
    ),
    "a removed device is let in again under its old keys": (
        ForgedListError,
        lambda made: adding(made.members, "lamp", by("desk")),
    ),
    "a device twice": (ForgedListError, lambda made: adding(made.members, "desk", by("desk"))),
    "the words as a device": (
        ForgedListError,
        lambda made: adding(made.members, "words", by("desk")),
    ),
    "a device that did not agree": (
        ForgedListError,
        lambda made: told_otherwise(made, proof=bytes(64)),
    ),
    "another key to seal to": (
        ForgedListError,
        lambda made: told_otherwise(made, kem_public=keys.kem_public(seeds_of("server"))),
    ),
    "another incarnation than it agreed to": (
        ForgedListError,
        lambda made: told_otherwise(made, incarnation=2),
    ),
    "a device's agreement to another vault": (
        ForgedListError,
        lambda made: told_otherwise(
            made, proof=entries.introduce(seeds_of("phone"), vault=bytes(16)).proof
        ),
    ),
    "a key anybody can sign with": (
        MalformedError,
        lambda made: told_otherwise(made, sign_public=bytes(32), proof=bytes(64)),
    ),
    "a key nobody can open with": (
        MalformedError,
        lambda made: sealed_to(made, b"\xff" * 1216),
    ),
    "a key that nothing can be sealed to": (
        MalformedError,
        lambda made: sealed_to(made, keys.kem_public(seeds_of("phone"))[:1184] + bytes(32)),
    ),
    "incarnation 0": (MalformedError, lambda made: told_otherwise(made, incarnation=0)),
    "a device without the key": (
        ForgedListError,
        lambda made: amend.add(
            made.members,
            by("desk"),
            entries.introduce(seeds_of("phone"), vault=made.members.vault),
            sealed_name=b"",
            epoch_key=None,
        ),
    ),
    "a device with a cut key": (
        MalformedError,
        lambda made: written(made.members, ADD, introduced(made, b"cut"), by("desk")),
    ),
    "a name without end": (
        MalformedError,
        lambda made: amend.rename(made.members, by("desk"), device_of("desk"), b"x" * 513),
    ),
    "a name for nobody": (
        ForgedListError,
        lambda made: amend.rename(made.members, by("desk"), b"?" * 16, b"x"),
    ),
    "removing somebody unknown": (
        ForgedListError,
        lambda made: amend.revoke(made.members, by("desk"), b"?" * 16, {}),
    ),
    "removing a device twice": (
        ForgedListError,
        lambda made: revoking(made.members, "lamp", by("desk")),
    ),
    "removing without saying from where": (
        ForgedListError,
        lambda made: amend.revoke(made.members, by("desk"), device_of("desk"), {}),
    ),
    "removing from a place without a hash": (
        MalformedError,
        lambda made: amend.revoke(
            made.members,
            by("desk"),
            device_of("desk"),
            dict.fromkeys(made.members.members[device_of("desk")].streams, (3, NO_HASH)),
        ),
    ),
    "a rotation that skips an epoch": (
        ForgedListError,
        lambda made: rotated_body(made, epoch=made.members.epoch + 2),
    ),
    "a rotation that repeats an epoch": (
        ForgedListError,
        lambda made: rotated_body(made, epoch=made.members.epoch),
    ),
    "a rotation that leaves out a device": (
        ForgedListError,
        lambda made: rotated_body(made, wraps=[]),
    ),
    "a rotation for a removed device too": (
        ForgedListError,
        lambda made: rotated_body(
            made,
            wraps=sorted(
                [(device_of("desk"), bytes(WRAP_BYTES)), (device_of("lamp"), bytes(WRAP_BYTES))],
            ),
        ),
    ),
    "a rotation that forgets what was before": (
        ForgedListError,
        lambda made: rotated_body(made, previous=None),
    ),
    "a rotation with a cut key": (
        MalformedError,
        lambda made: rotated_body(made, wraps=[(device_of("desk"), b"cut")]),
    ),
    "a rotation with a long check": (
        MalformedError,
        lambda made: rotated_body(made, check=bytes(17)),
    ),
    "a rotation with a cut previous key": (
        MalformedError,
        lambda made: rotated_body(made, previous=b"cut"),
    ),
    "a stream for another device": (
        ForgedListError,
        lambda made: written(
            made.members, entries.STREAM, (device_of("desk"), 2), by_words("words")
        ),
    ),
    "an earlier stream again": (
        ForgedListError,
        lambda made: amend.new_stream(made.members, seeds_of("desk"), incarnation=1),
    ),
    "words without proof": (ForgedListError, lambda made: recovered(made, lambda *_: bytes(64))),
    "words with a proof for another place": (
        ForgedListError,
        lambda made: recovered(
            made,
            lambda sign, kem: agreement.sign(
                seeds_of("new words").sign,
                entries.of_recovery(made.members.vault, NO_HASH, sign, kem),
            ),
        ),
    ),
    "the same words again": (
        ForgedListError,
        lambda made: amend.recovery(
            made.members, by("desk"), seeds_of("words"), epoch_key=epoch_key(1)
        ),
    ),
    "a device's key as words": (
        ForgedListError,
        lambda made: amend.recovery(
            made.members, by("desk"), seeds_of("desk"), epoch_key=epoch_key(1)
        ),
    ),
    "words without the key": (
        ForgedListError,
        lambda made: amend.recovery(
            made.members, by("desk"), seeds_of("new words"), epoch_key=None
        ),
    ),
    "a lower suite": (
        DowngradeError,
        lambda made: amend.policy(made.members, by("desk"), suite_floor=0, min_reader=1),
    ),
    "an older reader": (
        DowngradeError,
        lambda made: amend.policy(made.members, by("desk"), suite_floor=1, min_reader=0),
    ),
    "a demand nobody meets": (
        MalformedError,
        lambda made: amend.policy(made.members, by("desk"), suite_floor=256, min_reader=1),
    ),
    "a kind that has to be understood": (
        NewerListError,
        lambda made: written(made.members, 8, None, by("desk")),
    ),
    "a kind beyond all": (
        MalformedError,
        lambda made: written(made.members, 128, None, by("desk")),
    ),
    "a later form": (
        NewerListError,
        lambda made: msgspec.msgpack.encode((2, "anything")) + bytes(64),
    ),
    "an earlier form": (
        MalformedError,
        lambda made: msgspec.msgpack.encode((0, "anything")) + bytes(64),
    ),
    "a body of another kind": (
        MalformedError,
        lambda made: written(made.members, ADD, ("text",), by("desk")),
    ),
    "an entry without end": (
        MalformedError,
        lambda made: written(made.members, 64, bytes(256 * 1024), by("desk")),
    ),
    "no entry": (MalformedError, lambda made: b""),
    "something after it": (
        MalformedError,
        lambda made: adding(made.members, "phone", by("desk"))[:-64] + b"\0" + bytes(64),
    ),
    "nested without end": (
        MalformedError,
        lambda made: b"\x98\x01" * 10_000 + bytes(64),
    ),
}
