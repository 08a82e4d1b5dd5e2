"""A vault's devices for tests of the device list, with keys that follow from their names."""

import hashlib
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from sync_service.members import amend, control, entries
from sync_service.members.control import Members
from sync_service.members.entries import MEMBER_SIGNER, RECOVERY_SIGNER, Signer
from sync_service.sealed import keys
from sync_service.sealed.frames import NO_HASH
from sync_service.sealed.keys import Seeds


def seeds_of(name: str) -> Seeds:
    return Seeds(*(hashlib.sha256(f"{part} {name}".encode()).digest() for part in ("sign", "kem")))


def device_of(name: str) -> bytes:
    return keys.device_id(keys.sign_public(seeds_of(name)))


def by(name: str) -> Signer:
    return Signer(MEMBER_SIGNER, seeds_of(name))


def by_words(name: str) -> Signer:
    return Signer(RECOVERY_SIGNER, seeds_of(name))


def epoch_key(epoch: int) -> bytes:
    return hashlib.sha256(f"epoch {epoch}".encode()).digest()


class Circle(Struct):
    """A device list that grows, and its entries."""

    members: Members
    chain: list[bytes]

    def append(self, entry: bytes) -> None:
        self.members = control.extend(self.members, entry)
        self.chain.append(entry)

    def add(self, name: str, signer: Signer) -> None:
        self.append(adding(self.members, name, signer))

    def rotate(self, signer: Signer) -> None:
        self.append(rotating(self.members, signer))

    def revoke(self, name: str, signer: Signer) -> None:
        self.append(revoking(self.members, name, signer))


def adding(members: Members, name: str, signer: Signer) -> bytes:
    return amend.add(
        members,
        signer,
        entries.introduce(seeds_of(name), vault=members.vault),
        sealed_name=name.encode(),
        epoch_key=epoch_key(members.epoch) if members.epoch else None,
    )


def rotating(members: Members, signer: Signer) -> bytes:
    return amend.rotate(
        members,
        signer,
        epoch_key=epoch_key(members.epoch + 1),
        previous_key=epoch_key(members.epoch) if members.epoch else None,
    )


def revoking(members: Members, name: str, signer: Signer) -> bytes:
    member = members.members[device_of(name)]
    return amend.revoke(members, signer, member.device, dict.fromkeys(member.streams, (0, NO_HASH)))


def founded(words: str = "words") -> Circle:
    entry = amend.found(seeds_of(words), nonce=bytes(16))
    return Circle(control.begin(entry), [entry])


def circle(*names: str) -> Circle:
    """Devices of these names, the first admitted by the recovery words, at epoch 1."""
    made = founded()
    first, *others = names
    made.add(first, by_words("words"))
    made.rotate(by(first))
    for name in others:
        made.add(name, by(first))
    return made


def written(members: Members, kind: int, said: object, signer: Signer, **changed: Any) -> bytes:
    """An entry of any form, rightly signed by `signer`."""
    place = {"seq": members.seq + 1, "prev_hash": members.hash, "vault": members.vault, **changed}
    return entries.sign(place["seq"], place["prev_hash"], place["vault"], kind, said, by=signer)


Attack = Callable[[Circle], bytes]
