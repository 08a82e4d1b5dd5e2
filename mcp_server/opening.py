"""From settings to an open device: unlock the keys, settle an interrupted rekey, open the vault, choose the model.

Also what the person does rarely and alone: make a vault, change its key, change what protects it.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from mcp_server import settings as settings_module
from mcp_server.backup import move_aside
from mcp_server.device import Device, database_key, keys_from, open_device
from mcp_server.index.cross import CrossEncoder
from mcp_server.index.embedder import OnnxEmbedder
from mcp_server.index.export import bundled_model_folder, export_in_child, exported
from mcp_server.index.models import Models
from mcp_server.settings import Settings
from mcp_server.vault import audit, keys, lasting
from mcp_server.vault.db import DATABASE_NAME, create_vault, open_vault
from mcp_server.vault.protectors import RECOVER, Access, ProtectorKind
from shared.clock import Clock
from shared.errors import ConflictError, ForbiddenError, SunaivaError
from sync_service.device import log


class NewVault(Struct, frozen=True):
    """A vault just made. The words are shown once and kept nowhere."""

    home: Path
    protected_by: ProtectorKind
    words: str


def access(settings: Settings, *, passphrase: str | None = None) -> Access:
    """What opens a vault here: the passphrase given, or the one of the environment, the key folder, the OS keychain."""
    return Access(
        key_folder=settings.key_folder, passphrase=passphrase or settings_module.passphrase()
    )


def make_vault(
    settings: Settings,
    kind: ProtectorKind,
    given: Access,
    clock: Clock,
    *,
    words: str | None = None,
) -> NewVault:
    """Keys first, then the file: whatever is interrupted in between leaves nothing that pretends to be a vault. It opens with new
    recovery words, or with these, which the person has already.

    Raises:
        ConflictError: there is a vault already; it is not touched.
    """
    require_none(settings)
    if settings.home.exists():
        settings.home.chmod(0o700)
        # Keys without a vault are what an interrupted `init` leaves. They are kept, should the vault turn up.
        move_aside(settings.home, clock())
    new = keys.create_keys(settings.home, kind, given, clock, words=words)
    try:
        create_vault(settings.home / DATABASE_NAME, database_key(new.root_key))
    except SunaivaError:
        keys.discard(settings.home, given)
        raise
    return NewVault(settings.home, kind, new.words)


def require_none(settings: Settings) -> None:
    """Raises:
    ConflictError: there is a vault already.
    """
    if (settings.home / DATABASE_NAME).exists():
        raise ConflictError(f"There is a vault in {settings.home} already. It was left as it is.")


def open_here(settings: Settings, given: Access, clock: Clock) -> Device:
    """The device of these settings, answering by keyword at once and by meaning as soon as the model is there.

    Raises: as `vault.keys.unlock` and `vault.db.open_vault`.
    """
    root = settled_root(settings.home, given)
    return open_device(
        settings.home,
        root,
        clock=clock,
        models=models(settings),
        vectors=settings.vectors,
        policy=settings.policy,
        keep_tokens=settings.recall == "late",
    )


def models(settings: Settings) -> Models:
    """The models of these settings, each exported on first use (by a child process, which takes its time) and kept in their cache."""
    cache = settings.model_cache

    def prepare(folder: Path | None) -> str:
        chosen = folder or settings.model_folder or bundled_model_folder()
        return export_in_child(chosen, cache).name

    def cross() -> CrossEncoder:
        assert settings.cross_encoder is not None, "settings are refused without it"
        return CrossEncoder(export_in_child(settings.cross_encoder, cache, "cross"))

    return Models(
        prepare=prepare,
        open=lambda model_id: OnnxEmbedder(exported(model_id, cache)),
        cross=cross if settings.recall == "cross" else None,
    )


def settled_root(home: Path, given: Access) -> bytes:
    """The root key that opens the database. If a rekey was interrupted, whichever of the two it is, and that is then settled."""
    return _settle(home, keys.unlock(home, given), given)


def settled_root_by_words(home: Path, words: str, given: Access) -> bytes:
    """The same with the recovery words."""
    return _settle(home, keys.unlock_with_words(home, words), given)


def change_key(
    home: Path,
    root: bytes,
    kind: ProtectorKind,
    given: Access,
    *,
    clock: Clock,
    show: Callable[[str], None],
) -> tuple[str, str | None]:
    """A new root key: the vault is encrypted anew, and all former keys and words open it no more.

    The new words (shown before the vault depends on them), and a sentence about what is left to do by hand, if anything.

    Raises: as `vault.keys.begin_rekey` and `vault.db.open_vault`; then the former key still opens the vault.
    """
    vault = open_vault(home / DATABASE_NAME, database_key(root))
    try:
        new = keys.begin_rekey(home, root, kind, given)
        show(new.words)
        try:
            with vault.writing() as db:
                key = keys_from(root, lasting.secret(db, root)).audit
                audit.note(db, key, at=clock(), client="terminal", action="rekey", memories=[])
                lasting.hand_over(db, root, new.root_key)
            vault.rekey(database_key(new.root_key))
        except SunaivaError:
            vault.close()
            # A disk that fails as it commits leaves a database that may have the new key already. Whoever opens it next finds out.
            with suppress(SunaivaError):
                if _opens(home, root):
                    keys.abandon_rekey(home, given)
            raise
    finally:
        vault.close()
    return new.words, keys.finish_rekey(home, given)


def syncs(home: Path, root: bytes) -> bool:
    """Whether the vault is set up for sync. No agent may have it open."""
    vault = open_vault(home / DATABASE_NAME, database_key(root))
    try:
        with vault.reading() as db:
            return log.is_set_up(db)
    finally:
        vault.close()


def _settle(home: Path, found: keys.RootKeys, given: Access) -> bytes:
    if found.pending is None and not keys.rekey_is_under_way(home):
        return found.current
    if found.pending is None:
        return _settle_by_the_former(home, found.current, given)
    for root, settle in ((found.pending, keys.finish_rekey), (found.current, keys.abandon_rekey)):
        if _opens(home, root):
            settle(home, given)
            return root
    raise ForbiddenError(
        f"Neither key of an interrupted rekey opens {home / DATABASE_NAME}. Restore a backup with `sunaiva restore`."
    )


def _settle_by_the_former(home: Path, root: bytes, given: Access) -> bytes:
    """After an interrupted rekey, with a passphrase or words that open the former key only."""
    if not _opens(home, root):
        raise ForbiddenError(
            f"{home / DATABASE_NAME} has a new key already: its rekey was interrupted just before the end. Open it with the new "
            f"passphrase, or with the new recovery words: {RECOVER}."
        )
    keys.abandon_rekey(home, given)
    return root


def _opens(home: Path, root: bytes) -> bool:
    with suppress(ForbiddenError):
        open_vault(home / DATABASE_NAME, database_key(root)).close()
        return True
    return False
