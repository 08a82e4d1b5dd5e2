"""Letting devices in by their own key, and carrying the messages of two that pair.

A device needs no account to log in: its vault names it. The account's password and tokens open nothing here, and a pass opens nothing
but its own vault.
"""

import hashlib
from collections.abc import Callable
from uuid import UUID

from msgspec import Struct

from cloud_api.accounts.keys.keyring import Keyring
from cloud_api.db import AccountId, Database
from cloud_api.devices import passes, rules, store
from cloud_api.devices.names import DeviceId, VaultId
from cloud_api.devices.passes import Pass
from cloud_api.http.refusals import GoneError, InvalidFieldError, NotAuthenticatedError
from shared.agreement import is_signed
from shared.clock import Clock
from shared.errors import ConflictError, NotFoundError, QuotaExceededError
from sync_service.relay import token_statement


class Devices(Struct, frozen=True, kw_only=True):
    """What letting in stands on; `deps` wires it once for a process."""

    db: Database
    clock: Clock
    keys: Keyring
    challenge_key: bytes
    public_url: str
    random: Callable[[int], bytes]
    new_id: Callable[[], UUID]


class DeviceRefusedError(NotAuthenticatedError):
    """One sentence for everything: who guesses learns nothing about which part was wrong."""

    code = "device_refused"

    def __init__(self) -> None:
        super().__init__(
            "This vault does not let the device in: it was removed, it belongs elsewhere, or the challenge is over. Ask for a "
            "new challenge; if that is refused as well, pair the device again."
        )


class VaultDeletedError(GoneError):
    """Its owner wanted that. It is not lost, so nobody gives it back unasked."""

    code = "vault_deleted"

    def __init__(self) -> None:
        super().__init__(
            "This vault was deleted here by its owner. Nothing on your devices is affected; to sync it here again, put it back from "
            "one of them with `sunaiva sync put-back`."
        )


class SlotTakenError(ConflictError):
    code = "mailbox_slot_taken"


class NoMessageError(NotFoundError):
    code = "mailbox_empty"


class MailboxesFullError(QuotaExceededError):
    code = "mailboxes_full"


def challenge(devices: Devices, vault: VaultId) -> bytes:
    """Also for a vault that does not exist: nobody learns here which do."""
    return rules.new_challenge(
        devices.challenge_key, vault.bytes, random=devices.random(16), now=devices.clock()
    )


async def let_in(
    devices: Devices, vault: VaultId, device: DeviceId, *, nonce: bytes, signature: bytes
) -> str:
    """A pass for this device and vault, good for a quarter of an hour.

    Raises:
        DeviceRefusedError
        VaultDeletedError
    """
    now = devices.clock()
    expires_at = rules.challenge_runs_out(devices.challenge_key, vault.bytes, nonce, now=now)
    if expires_at is None:
        raise DeviceRefusedError
    statement = token_statement(
        vault=vault.bytes, device=device.bytes, nonce=nonce, origin=devices.public_url
    )
    async with devices.db.transaction() as connection:
        found = await store.device(connection, vault, device)
        if found is None and await store.is_vault_deleted(connection, vault):
            raise VaultDeletedError
    if found is None or not is_signed(found.sign_public, statement, signature):
        raise DeviceRefusedError
    account = AccountId(found.account_id)
    async with devices.db.transaction(account) as connection:
        # Once only: what somebody overheard is worth nothing.
        digest = hashlib.sha256(nonce).digest()
        is_first = await store.spend(connection, account, digest, expires_at=expires_at)
        is_member = await store.see(connection, vault, device, now)
    if not is_first or not is_member:
        raise DeviceRefusedError
    return passes.issue(
        await devices.keys.signing(),
        passes.issuer_of(devices.public_url),
        Pass(account, vault, device),
        token_id=str(devices.new_id()),
        now=now,
    )


async def put_message(
    devices: Devices, account: AccountId, *, name: UUID, slot: str, message: bytes
) -> None:
    """Leaves a message for the other device. The same again is the same.

    Raises:
        SlotTakenError: another one lies there.
        MailboxesFullError
    """
    if not 0 < len(message) <= rules.MESSAGE_BYTES_MAX:
        raise InvalidFieldError("", f"A message has 1 to {rules.MESSAGE_BYTES_MAX} bytes.")
    now = devices.clock()
    async with devices.db.transaction(account) as connection:
        await store.lock_mailboxes(connection, account)
        if await store.message(connection, account, name, slot, now) == message:
            return
        if await store.count_messages(connection, account, now) >= rules.MESSAGES_MAX:
            raise MailboxesFullError(
                "Too many devices are being paired at once. Wait a quarter of an hour, then start again."
            )
        is_put = await store.put_message(
            connection,
            account,
            name=name,
            slot=slot,
            message=message,
            now=now,
            expires_at=now + rules.MAILBOX_LIFE,
        )
    if not is_put:
        raise SlotTakenError("Another message lies there already. Start the pairing again.")


async def read_message(devices: Devices, account: AccountId, *, name: UUID, slot: str) -> bytes:
    """
    Raises:
        NoMessageError: there is none yet, or its time is over.
    """
    async with devices.db.transaction(account) as connection:
        found = await store.message(connection, account, name, slot, devices.clock())
    if found is None:
        raise NoMessageError("No message lies there: the other device has not sent it yet.")
    return found
