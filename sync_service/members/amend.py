"""Changes of the device list: the entries by which a device admits, removes and renames devices and changes the keys.

They are made for the list as the device knows it. Whoever appends one and is told that somebody was faster reads the list again and
makes it anew. Nothing here checks what `control.extend` checks.
"""

from shared import agreement
from sync_service.members import control, entries
from sync_service.members.control import Members
from sync_service.members.entries import (
    ADD,
    FOUND,
    MEMBER_SIGNER,
    POLICY,
    RECOVERY,
    RECOVERY_SIGNER,
    RENAME,
    REVOKE,
    ROTATE,
    STREAM,
    Newcomer,
    Signer,
)
from sync_service.sealed import keys
from sync_service.sealed.frames import NO_HASH, SUITE
from sync_service.sealed.keys import Seeds


def found(recovery: Seeds, *, nonce: bytes, suite_floor: int = SUITE) -> bytes:
    """The first entry. Its hash is the vault's id, so no server can show another list for it."""
    body = (nonce, keys.sign_public(recovery), keys.kem_public(recovery), suite_floor)
    return entries.sign(1, NO_HASH, None, FOUND, body, by=Signer(RECOVERY_SIGNER, recovery))


def add(
    members: Members,
    by: Signer,
    newcomer: Newcomer,
    *,
    sealed_name: bytes,
    epoch_key: bytes | None,
) -> bytes:
    """Admits a device, its first stream, and gives it the key of today; None before there is one."""
    wrap = epoch_key and _wrapped(members, epoch_key, newcomer.kem_public, members.epoch)
    body = (
        newcomer.sign_public,
        newcomer.kem_public,
        newcomer.incarnation,
        sealed_name,
        newcomer.proof,
        wrap,
    )
    return _next(members, ADD, body, by)


def revoke(
    members: Members, by: Signer, device: bytes, lasts: dict[bytes, tuple[int, bytes]]
) -> bytes:
    """Removes a device. `lasts` is of each of its streams the last batch that the server holds, which nothing may follow."""
    body = (device, [(stream, *lasts[stream]) for stream in sorted(lasts)])
    return _next(members, REVOKE, body, by)


def rotate(members: Members, by: Signer, *, epoch_key: bytes, previous_key: bytes | None) -> bytes:
    """A new epoch with a new random key, for the devices of today. `previous_key` is None for the first one only."""
    epoch = members.epoch + 1
    previous = previous_key and keys.seal_previous(
        previous_key, epoch_key, vault=members.vault, epoch=epoch
    )
    wraps = [
        (one.device, _wrapped(members, epoch_key, one.kem_public, epoch))
        for one in control.live(members)
    ]
    recovery = _wrapped(members, epoch_key, members.recovery_kem, epoch)
    body = (epoch, keys.check_of(epoch_key), wraps, recovery, previous)
    return _next(members, ROTATE, body, by)


def new_stream(members: Members, seeds: Seeds, *, incarnation: int) -> bytes:
    """The device goes on under a stream of its own next incarnation."""
    device = keys.device_id(keys.sign_public(seeds))
    return _next(members, STREAM, (device, incarnation), Signer(MEMBER_SIGNER, seeds))


def rename(members: Members, by: Signer, device: bytes, sealed_name: bytes) -> bytes:
    return _next(members, RENAME, (device, sealed_name), by)


def recovery(members: Members, by: Signer, new: Seeds, *, epoch_key: bytes | None) -> bytes:
    """Other recovery words take the place of those of today."""
    sign, kem = keys.sign_public(new), keys.kem_public(new)
    proof = agreement.sign(new.sign, entries.of_recovery(members.vault, members.hash, sign, kem))
    wrap = epoch_key and _wrapped(members, epoch_key, kem, members.epoch)
    return _next(members, RECOVERY, (sign, kem, proof, wrap), by)


def policy(members: Members, by: Signer, *, suite_floor: int, min_reader: int) -> bytes:
    """What the vault demands from now on; it only ever demands more."""
    return _next(members, POLICY, (suite_floor, min_reader), by)


def _wrapped(members: Members, epoch_key: bytes, kem_public: bytes, epoch: int) -> bytes:
    return keys.wrap_epoch_key(epoch_key, kem_public, vault=members.vault, epoch=epoch)


def _next(members: Members, kind: int, said: object, by: Signer) -> bytes:
    return entries.sign(members.seq + 1, members.hash, members.vault, kind, said, by=by)
