"""What the person's terminal may ask of sync. Only the terminal: no tool for assistants leads here."""

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from mcp_server.calls import NoArgs, Steps, call_of
from mcp_server.syncing.service import Syncing
from mcp_server.terminal import Call, CallContext


class LogInArgs(Struct, kw_only=True):
    cloud: str
    name: str | None = None


class FolderArgs(Struct, kw_only=True):
    path: str
    name: str | None = None


class WordsArgs(Struct, kw_only=True):
    words: str
    name: str | None = None

    def __repr__(self) -> str:
        return "WordsArgs(…)"


class NewWordsArgs(Struct, kw_only=True):
    words: str

    def __repr__(self) -> str:
        return "NewWordsArgs(…)"


class OfferArgs(Struct, kw_only=True):
    name: str | None = None
    code: str | None = None


class AdmitArgs(Struct, kw_only=True):
    code: str | None = None


class FinishArgs(Struct, kw_only=True):
    same: bool


class ForgetsArgs(Struct, kw_only=True):
    forget: bool


class RenameArgs(Struct, kw_only=True):
    device: str
    name: str


class DeviceArgs(Struct, kw_only=True):
    device: str


def build_sync_calls(open_syncing: Callable[[], Syncing]) -> Mapping[str, Call]:
    """Every call by its name."""
    return {
        "login": call_of(open_syncing, LogInArgs, _login),
        "logout": call_of(open_syncing, NoArgs, _logout),
        "sync_found": call_of(open_syncing, WordsArgs, _found),
        "sync_recover": call_of(open_syncing, WordsArgs, _recover),
        "sync_words": call_of(open_syncing, NewWordsArgs, _words),
        "sync_folder": call_of(open_syncing, FolderArgs, _folder),
        "sync_verify": call_of(open_syncing, NoArgs, _verify),
        "sync_forgets": call_of(open_syncing, ForgetsArgs, _forgets),
        "sync_status": call_of(open_syncing, NoArgs, _status),
        "sync_now": call_of(open_syncing, NoArgs, _now),
        "sync_pause": call_of(open_syncing, NoArgs, _pause),
        "sync_resume": call_of(open_syncing, NoArgs, _resume),
        "sync_put_back": call_of(open_syncing, NoArgs, _put_back),
        "pair_offer": call_of(open_syncing, OfferArgs, _offer),
        "pair_admit": call_of(open_syncing, AdmitArgs, _admit),
        "pair_meet": call_of(open_syncing, NoArgs, _meet),
        "pair_finish": call_of(open_syncing, FinishArgs, _finish),
        "devices": call_of(open_syncing, NoArgs, _devices),
        "device_rename": call_of(open_syncing, RenameArgs, _rename),
        "device_revoke": call_of(open_syncing, DeviceArgs, _revoke),
    }


def _login(syncing: Syncing, ctx: CallContext, args: LogInArgs) -> Steps:
    mail, standing = yield from syncing.log_in(args.cloud, args.name, cancelled=ctx.cancelled)
    return {
        "mail": mail,
        "cloud": standing.place,
        "vaults": standing.vaults,
        "set_up": standing.is_set_up,
        "deleted": standing.is_deleted,
    }


def _logout(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    yield {"doing": "Logging out"}
    return {"told": syncing.log_out()}


def _found(syncing: Syncing, ctx: CallContext, args: WordsArgs) -> Steps:
    yield {"doing": "Setting sync up"}
    syncing.found(args.words, args.name)
    yield from syncing.now()
    return syncing.status()


def _recover(syncing: Syncing, ctx: CallContext, args: WordsArgs) -> Steps:
    yield {"doing": "Joining with the recovery words"}
    syncing.recover(args.words, args.name)
    yield from syncing.now()
    return syncing.status()


def _words(syncing: Syncing, ctx: CallContext, args: NewWordsArgs) -> Steps:
    yield {"doing": "Changing the recovery words"}
    return {"changed": syncing.set_words(args.words)}


def _folder(syncing: Syncing, ctx: CallContext, args: FolderArgs) -> Steps:
    yield {"doing": "Looking into the folder"}
    standing = syncing.use_folder(Path(args.path), args.name)
    return {"folder": standing.place, "vaults": standing.vaults, "set_up": standing.is_set_up}


def _status(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    yield from ()
    return syncing.status()


def _now(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    yield from syncing.now()
    return syncing.status()


def _verify(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    found = yield from syncing.verify()
    return {
        "sound": found.sound,
        "memories": found.memories,
        "found": found.found,
        "status": syncing.status(),
    }


def _forgets(syncing: Syncing, ctx: CallContext, args: ForgetsArgs) -> Steps:
    yield {"doing": "Forgetting" if args.forget else "Keeping"}
    return {"memories": syncing.decide_forgets(forget=args.forget)}


def _pause(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    yield from ()
    syncing.pause(True)
    return syncing.status()


def _resume(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    yield from ()
    syncing.pause(False)
    return syncing.status()


def _put_back(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    yield {"doing": "Putting the vault back"}
    syncing.put_back()
    yield from syncing.now()
    return syncing.status()


def _offer(syncing: Syncing, ctx: CallContext, args: OfferArgs) -> Steps:
    yield from ()
    newcomer = syncing.pairing.offer(args.name, args.code)
    return {"code": newcomer.code, "qr": newcomer.qr}


def _admit(syncing: Syncing, ctx: CallContext, args: AdmitArgs) -> Steps:
    yield from ()
    member = syncing.pairing.admit(args.code)
    return {"code": member.code}


def _meet(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    number, name = yield from syncing.pairing.meet(cancelled=ctx.cancelled)
    return {"number": number, "name": name}


def _finish(syncing: Syncing, ctx: CallContext, args: FinishArgs) -> Steps:
    yield from syncing.pair_finish(is_same_number=args.same, cancelled=ctx.cancelled)
    yield from syncing.now()
    return syncing.status()


def _devices(syncing: Syncing, ctx: CallContext, args: NoArgs) -> Steps:
    yield from ()
    return syncing.devices()


def _rename(syncing: Syncing, ctx: CallContext, args: RenameArgs) -> Steps:
    yield {"doing": "Renaming"}
    syncing.rename(args.device, args.name)
    return syncing.devices()


def _revoke(syncing: Syncing, ctx: CallContext, args: DeviceArgs) -> Steps:
    yield {"doing": "Removing the device"}
    yield from syncing.revoke(args.device)
    return syncing.devices()
