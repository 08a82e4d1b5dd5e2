"""The vault's root key: 32 random bytes, never stored but behind two locks, an everyday protector and recovery words.

Every change stores the new lock's key first, then replaces `vault.json` as a whole, then removes the former lock's
key; so a crash anywhere leaves a vault that opens. A root key is never written in the clear, and there is no way to
make a vault without one. Who changes keys holds the vault's lock: two changes at once would lose one of them.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from mcp_server.vault import words as recovery_words
from mcp_server.vault.protectors import (
    RECOVER,
    Access,
    ProtectorKind,
    key_file_path,
    put_in_keychain,
    read_key_file,
    remove_from_keychain,
    remove_key_file,
    take_from_keychain,
    write_key_file,
)
from mcp_server.vault.vaultfile import (
    FORMAT,
    KeychainSlot,
    KeyFileSlot,
    PassphraseSlot,
    Pending,
    ProtectorSlot,
    RecoverySlot,
    Slots,
    VaultFile,
    create_vault_file,
    damaged,
    read_vault_file,
    remove_vault_file,
    replace_vault_file,
)
from shared import crypto
from shared.clock import Clock
from shared.errors import ConflictError, CorruptError, ForbiddenError, InvalidError, SunaivaError

# What `crypto.derive` makes: one key for each purpose, so that none can stand in for another. The audit key and the digest key come
# from the lasting secret (`vault.lasting`), which a rekey keeps, the others from the root key.
DATABASE_KEY = "database"
AUDIT_KEY = "audit"
VECTOR_KEY = "vectors"
CONFIRM_KEY = "confirm"
DIGEST_KEY = "digest"

# A stolen vault file can be guessed at without limit; below this even Argon2id does not help (NIST SP 800-63B: 8).
PASSPHRASE_CHARS_MIN = 8

_CHECK_KEY = "check"
_PREVIOUS_KEY = "previous-root"
_RECOVERY_KEY = "recovery"


class NewKeys(Struct, frozen=True):
    """A root key just made, and the words that were made with it: show them once, they are kept nowhere."""

    root_key: bytes
    words: str

    def __repr__(self) -> str:
        return "NewKeys(…)"

    def __rich_repr__(self) -> tuple[()]:  # type: ignore[override] # msgspec's would show the fields
        return ()


class RootKeys(Struct, frozen=True):
    """What an unlocked vault opens with. With a `pending` key a rekey was interrupted: the database has one of the two."""

    current: bytes
    pending: bytes | None = None

    def __repr__(self) -> str:
        return "RootKeys(…)"

    def __rich_repr__(self) -> tuple[()]:  # type: ignore[override] # msgspec's would show the fields
        return ()


def create_keys(
    home: Path, kind: ProtectorKind, access: Access, clock: Clock, *, words: str | None = None
) -> NewKeys:
    """A new vault's keys; `words` are recovery words that the person has already, for this vault too.

    Raises:
        ConflictError: there is a vault already; it is not touched.
        InvalidError: the passphrase is too short, or the key file would lie in the vault's folder.
    """
    vault_id = UUID(bytes=crypto.random_key()[:16], version=4)
    root_key = crypto.random_key()
    entropy = None if words is None else recovery_words.entropy_of(words)
    words, recovery = _recovery(vault_id, root_key, entropy)
    slot = _protect(home, vault_id, root_key, kind, access, label=None)
    vault = VaultFile(
        format=FORMAT,
        vault_id=vault_id,
        created_at=clock(),
        slots=Slots(check=_check(vault_id, root_key), protector=slot, recovery=recovery),
    )
    try:
        create_vault_file(home, vault)
    except SunaivaError:
        _remove_key(vault_id, slot, access)
        raise
    return NewKeys(root_key, words)


def discard(home: Path, access: Access) -> None:
    """Remove the keys of a vault that could not be made; nobody has seen its words."""
    vault = read_vault_file(home)
    remove_vault_file(home)
    _remove_key(vault.vault_id, vault.slots.protector, access)


def protected_by(home: Path) -> ProtectorKind:
    """What opens this vault every day; a caller asks for a passphrase only where one is needed."""
    return _kind(read_vault_file(home).slots.protector)


def unlock(home: Path, access: Access) -> RootKeys:
    """The root key, by the everyday protector.

    Raises:
        NotFoundError: no vault, or its key is not where it was kept.
        ForbiddenError: a wrong or missing passphrase, another vault's key, or a key file that others can read.
        CorruptError: `vault.json` or the kept key is damaged.
        UnavailableError: the keychain does not answer.
    """
    vault = read_vault_file(home)
    return _candidates(home, vault, lambda slots: _open_slots(home, vault.vault_id, slots, access))


def unlock_with_words(home: Path, words: str) -> RootKeys:
    """The root key, by the twelve words.

    Raises:
        InvalidError: these cannot be recovery words; says which mistake it is.
        ForbiddenError: they are recovery words, but not this vault's.
    """
    vault = read_vault_file(home)
    key = crypto.derive(recovery_words.entropy_of(words), _RECOVERY_KEY)
    return _candidates(home, vault, lambda slots: _open_recovery(home, vault.vault_id, slots, key))


def opens_with_words(home: Path, words: str) -> bool:
    """Whether these are this vault's recovery words."""
    try:
        unlock_with_words(home, words)
    except SunaivaError:
        return False
    return True


def protect_with(home: Path, root_key: bytes, kind: ProtectorKind, access: Access) -> str | None:
    """Replace the everyday protector; the recovery words stay. Returns what is left to do by hand, if anything.

    The root key stays too: who has an old copy of `vault.json` and its old key still has the root key.

    Raises:
        ConflictError: a rekey is under way.
    """
    vault = _settled(home, root_key)
    slot = _protect(home, vault.vault_id, root_key, kind, access, label=_new_label())
    try:
        replace_vault_file(home, replace(vault, slots=replace(vault.slots, protector=slot)))
    except SunaivaError:
        _remove_key(vault.vault_id, slot, access)
        raise
    return _remove_key(vault.vault_id, vault.slots.protector, access)


def new_recovery_words(home: Path, root_key: bytes) -> str:
    """Twelve new words; the former ones open this vault no more, but still old copies of `vault.json`.

    Raises:
        ConflictError: a rekey is under way.
    """
    vault = _settled(home, root_key)
    words, recovery = _recovery(vault.vault_id, root_key)
    replace_vault_file(home, replace(vault, slots=replace(vault.slots, recovery=recovery)))
    return words


def begin_rekey(home: Path, root_key: bytes, kind: ProtectorKind, access: Access) -> NewKeys:
    """A new root key, with a protector and words of its own, beside the present `root_key`.

    Show the words before the database gets its new key. Then `finish_rekey`, or `abandon_rekey` if it did not.

    Raises:
        ConflictError: a rekey is under way already.
    """
    vault = _settled(home, root_key)
    vault_id = vault.vault_id
    next_key = crypto.random_key()
    words, recovery = _recovery(vault_id, next_key)
    slot = _protect(home, vault_id, next_key, kind, access, label=_new_label())
    pending = Pending(
        slots=Slots(check=_check(vault_id, next_key), protector=slot, recovery=recovery),
        previous_sealed=crypto.seal(
            crypto.derive(next_key, _PREVIOUS_KEY),
            root_key,
            bound_to=_binding(vault_id, _PREVIOUS_KEY),
        ),
    )
    try:
        replace_vault_file(home, replace(vault, pending=pending))
    except SunaivaError:
        _remove_key(vault_id, slot, access)
        raise
    return NewKeys(next_key, words)


def rekey_is_under_way(home: Path) -> bool:
    """Whether one was begun and neither finished nor abandoned."""
    return read_vault_file(home).pending is not None


def finish_rekey(home: Path, access: Access) -> str | None:
    """The database has the new key: forget the former one. Returns what is left to do by hand, if anything.

    Raises:
        ConflictError: no rekey is under way.
    """
    vault = read_vault_file(home)
    pending = _pending(vault)
    replace_vault_file(home, replace(vault, slots=pending.slots, pending=None))
    return _remove_key(vault.vault_id, vault.slots.protector, access)


def abandon_rekey(home: Path, access: Access) -> str | None:
    """The database kept its key: forget the new one. Returns what is left to do by hand, if anything.

    Raises:
        ConflictError: no rekey is under way.
    """
    vault = read_vault_file(home)
    pending = _pending(vault)
    replace_vault_file(home, replace(vault, pending=None))
    return _remove_key(vault.vault_id, pending.slots.protector, access)


def _settled(home: Path, root_key: bytes) -> VaultFile:
    """The vault file for a change: of this root key, and with no rekey under way that the change would cross."""
    vault = read_vault_file(home)
    if vault.pending is not None:
        raise ConflictError(
            "A rekey of this vault was interrupted. Run `sunaiva doctor`, which settles it first."
        )
    if not crypto.equal(vault.slots.check, _check(vault.vault_id, root_key)):
        raise ForbiddenError(
            f"This key does not belong to the vault in {home}. Nothing was changed."
        )
    return vault


def _pending(vault: VaultFile) -> Pending:
    if vault.pending is None:
        raise ConflictError("No rekey of this vault is under way.")
    return vault.pending


def _recovery(
    vault_id: UUID, root_key: bytes, entropy: bytes | None = None
) -> tuple[str, RecoverySlot]:
    # 128 random bits cannot be guessed at any speed: HKDF is enough here, stretching is for what people make up.
    entropy = entropy or crypto.random_key()[: recovery_words.ENTROPY_BYTES]
    key = crypto.derive(entropy, _RECOVERY_KEY)
    sealed = crypto.seal(key, root_key, bound_to=_binding(vault_id, "recovery"))
    return recovery_words.words_of(entropy), RecoverySlot(sealed=sealed)


def _protect(
    home: Path,
    vault_id: UUID,
    root_key: bytes,
    kind: ProtectorKind,
    access: Access,
    *,
    label: str | None,
) -> ProtectorSlot:
    """Keep a fresh key where `kind` says, and the root key sealed under it."""
    name, bound_to = _kept_as(vault_id, label), _binding(vault_id, kind)
    if kind == "passphrase":
        passphrase = access.passphrase or ""
        if len(passphrase) < PASSPHRASE_CHARS_MIN:
            raise InvalidError(
                f"The passphrase is too short: take at least {PASSPHRASE_CHARS_MIN} characters."
            )
        salt, cost = crypto.random_salt(), crypto.PASSPHRASE_COST
        key = crypto.stretch(passphrase, salt=salt, cost=cost)
        return PassphraseSlot(
            sealed=crypto.seal(key, root_key, bound_to=bound_to), salt=salt, cost=cost
        )
    key = crypto.random_key()
    sealed = crypto.seal(key, root_key, bound_to=bound_to)
    if kind == "keychain":
        put_in_keychain(access.find_keychain(), name, key)
        return KeychainSlot(sealed=sealed, label=label)
    write_key_file(access.key_folder, name, key, home=home)
    return KeyFileSlot(sealed=sealed, label=label)


def _candidates(home: Path, vault: VaultFile, opened: Callable[[Slots], bytes]) -> RootKeys:
    if vault.pending is not None:
        # The former passphrase or words do not open what is pending; they open what is still there beside it.
        with suppress(SunaivaError):
            pending = opened(vault.pending.slots)
            previous_key = crypto.derive(pending, _PREVIOUS_KEY)
            bound_to = _binding(vault.vault_id, _PREVIOUS_KEY)
            current = crypto.open_sealed(
                previous_key, vault.pending.previous_sealed, bound_to=bound_to
            )
            return RootKeys(_checked(home, vault.vault_id, vault.slots, current), pending)
    return RootKeys(opened(vault.slots))


def _open_slots(home: Path, vault_id: UUID, slots: Slots, access: Access) -> bytes:
    slot = slots.protector
    key = _everyday_key(vault_id, slot, access)
    bound_to = _binding(vault_id, _kind(slot))
    root_key = _open(
        home, key, slot.sealed, bound_to=bound_to, refusal=_refusal(vault_id, slot, access)
    )
    return _checked(home, vault_id, slots, root_key)


def _everyday_key(vault_id: UUID, slot: ProtectorSlot, access: Access) -> bytes:
    match slot:
        case KeychainSlot(label=label):
            return take_from_keychain(access.find_keychain(), _kept_as(vault_id, label))
        case KeyFileSlot(label=label):
            return read_key_file(access.key_folder, _kept_as(vault_id, label))
        case PassphraseSlot(salt=salt, cost=cost):
            if access.passphrase is None:
                raise ForbiddenError(
                    "This vault is protected by a passphrase. Set SUNAIVA_PASSPHRASE, or run the command in a "
                    "terminal, where it asks for it."
                )
            return crypto.stretch(access.passphrase, salt=salt, cost=cost)


def _refusal(vault_id: UUID, slot: ProtectorSlot, access: Access) -> str:
    match slot:
        case KeychainSlot():
            return (
                f"The key in the keychain is not this vault's. Use the recovery words: {RECOVER}."
            )
        case KeyFileSlot(label=label):
            path = key_file_path(access.key_folder, _kept_as(vault_id, label))
            return f"The key in {path} is not this vault's. Use the recovery words: {RECOVER}."
        case PassphraseSlot():
            return f"The passphrase is wrong. Try again, or use the recovery words: {RECOVER}."


def _open_recovery(home: Path, vault_id: UUID, slots: Slots, recovery_key: bytes) -> bytes:
    root_key = _open(
        home,
        recovery_key,
        slots.recovery.sealed,
        bound_to=_binding(vault_id, "recovery"),
        refusal="These are recovery words, but not this vault's (any more). Look for the note of the last ones you were "
        "shown, or for the vault they belong to.",
    )
    return _checked(home, vault_id, slots, root_key)


def _open(home: Path, key: bytes, sealed: bytes, *, bound_to: bytes, refusal: str) -> bytes:
    try:
        return crypto.open_sealed(key, sealed, bound_to=bound_to)
    except ForbiddenError:
        raise ForbiddenError(refusal) from None
    except CorruptError as error:
        raise damaged(home, str(error).rstrip(".")) from None


def _check(vault_id: UUID, root_key: bytes) -> bytes:
    return crypto.mac(crypto.derive(root_key, _CHECK_KEY), vault_id.bytes)


def _checked(home: Path, vault_id: UUID, slots: Slots, root_key: bytes) -> bytes:
    if not crypto.equal(slots.check, _check(vault_id, root_key)):
        raise damaged(home, "its parts belong to different vaults")
    return root_key


def _binding(vault_id: UUID, kind: str) -> bytes:
    return f"{vault_id}/{kind}".encode()


def _kind(slot: ProtectorSlot) -> ProtectorKind:
    match slot:
        case KeychainSlot():
            return "keychain"
        case KeyFileSlot():
            return "key_file"
        case PassphraseSlot():
            return "passphrase"


def _new_label() -> str:
    return crypto.random_key()[:4].hex()


def _kept_as(vault_id: UUID, label: str | None) -> str:
    # The next key must stand beside the present one until `vault.json` names it, and never overwrite another copy's.
    return str(vault_id) if label is None else f"{vault_id}.{label}"


def _remove_key(vault_id: UUID, slot: ProtectorSlot, access: Access) -> str | None:
    match slot:
        case KeychainSlot(label=label):
            return remove_from_keychain(access.find_keychain(), _kept_as(vault_id, label))
        case KeyFileSlot(label=label):
            return remove_key_file(access.key_folder, _kept_as(vault_id, label))
        case PassphraseSlot():
            return None
