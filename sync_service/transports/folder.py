"""A plain folder instead of a server: a USB stick, a network share, or a drive that some other program carries between machines.

Every device writes files of its own only, each complete before it has its name, and never again afterwards, but to make good what was
damaged; so it does not matter in which order files arrive, and what is half there is looked at again later. Nothing counts globally:
positions are this reader's own, of the frames in the order in which it found them. Whatever stands in the folder is checked by the
engine like anything from a server.

Confession: there is no one to decide who was first. Two devices that change the device list at the same moment on a drive that
takes minutes to carry files both believe theirs; the entry with the smaller hash stays, and the other device has to be paired again.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from shared.errors import SunaivaError
from sync_service import relay
from sync_service.members import control, entries
from sync_service.members.control import Members
from sync_service.members.entries import NewerListError
from sync_service.sealed import frames, manifests
from sync_service.sealed.frames import ForgedError, Frame
from sync_service.sealed.manifests import Manifest
from sync_service.transport import (
    BusyError,
    ControlConflictError,
    ForkError,
    Known,
    Loss,
    NoVaultError,
    Page,
    Pushed,
    Range,
    Reached,
    SeqGapError,
    Standing,
)
from sync_service.transports import folder_files, folder_shelf
from sync_service.transports.folder_files import Look, in_plain_words
from sync_service.transports.folder_shelf import SEQ_DIGITS, SETTLED_MS, Shelf
from sync_service.transports.folder_snapshots import FolderSnapshots

GENERATION = "folder"
PAGE_FRAMES = 256
PAGE_BYTES = 4 * 1024 * 1024
_LOOK_EVERY_SECONDS = 2.0
_ENTRIES_AT_ONCE = 256
_GENERATION_DIGITS = 16
_VAULT = re.compile(r"[0-9a-f]{32}")


class Seen(Struct, frozen=True):
    """How far this device is, as its vault says."""

    cursor: int
    heads: Mapping[bytes, int]
    """The last batch of each stream that is here; of own streams the last that the folder has shown."""


class FolderTransport:
    """One vault in a folder. `seen` is asked once for every beginning; `sleep` waits."""

    def __init__(
        self,
        folder: Path,
        vault: bytes | None,
        *,
        seen: Callable[[], Seen],
        sleep: Callable[[float], None],
    ) -> None:
        self._root = folder
        self._seen = seen
        self._sleep = sleep
        self._log: list[Frame] = []
        self._base = -1
        self._listed: tuple[tuple[Path, Look], ...] = ()
        self._list: tuple[list[bytes], Members | None] = ([], None)
        self._waited: frozenset[tuple[Path, Look]] | None = None
        self._rests_in = 0.0
        self._generation = GENERATION
        self._enter(vault)

    def _enter(self, vault: bytes | None) -> None:
        self._vault = vault
        if vault is not None:
            self._shelf = Shelf(self._home / "streams")
            self._snapshots = FolderSnapshots(self._home)

    def standing(self) -> Standing:
        with in_plain_words(self._root):
            if self._vault is not None:
                self._demand_home()
            if self._vault is None or not self._entries():
                raise NoVaultError("There is no vault in this folder yet.")
            self._begin_anew_if_told()
            self._look(self._seen().cursor)
            return Standing(
                generation=self._generation,
                head_pos=self._base + len(self._log),
                min_pos=1,
                control_seq=len(self._chain()),
                may_push=True,
            )

    def push(self, batches: Sequence[bytes]) -> Pushed:
        sent = frames.split(b"".join(batches), most=frames.PUSH_FRAMES_MAX)
        with in_plain_words(self._root):
            stream = sent[0].header.stream
            self._look(max(self._base, 0))
            there = self._there(stream, sent[0].header.seq)
            new = [frame for frame in sent if frame.header.seq not in there]
            for frame in sent:
                if there.get(frame.header.seq, frame.hash) != frame.hash:
                    raise ForkError(stream, frame.header.seq)
            before = self._shelf.last_before(stream, sent[0].header.seq)
            expected = max(there, default=before) + 1
            if new and new[0].header.seq > expected:
                raise SeqGapError(stream, expected)
            for run in _runs(new, self._shelf.flawed_names(stream)):
                self._shelf.put(stream, run)
            self._look(max(self._base, 0))
            at = {frame.hash: pos for pos, frame in enumerate(self._log, self._base + 1)}
            placed = tuple((frame.header.seq, at.get(frame.hash, 0)) for frame in sent)
            return Pushed(
                generation=self._generation, placed=placed, head_pos=self._base + len(self._log)
            )

    def pull(self, after: int, *, generation: str | None) -> Page:
        with in_plain_words(self._root):
            self._look(after)
        shown: list[tuple[int, bytes]] = []
        size = 0
        for pos, frame in enumerate(self._log[after - self._base :], after + 1):
            size += len(frame.raw)
            if shown and (len(shown) == PAGE_FRAMES or size > PAGE_BYTES):
                break
            shown.append((pos, frame.raw))
        return Page(
            generation=self._generation,
            frames=tuple(shown),
            head_pos=self._base + len(self._log),
            min_pos=1,
        )

    def control(self, after_seq: int) -> list[bytes]:
        with in_plain_words(self._root):
            return self._chain()[after_seq : after_seq + _ENTRIES_AT_ONCE]

    def append_control(self, entry: bytes) -> None:
        said = entries.parse(entry)
        if self._vault is None:
            self._enter(control.begin(entry).vault)
        with in_plain_words(self._root):
            if said.kind != entries.FOUND:
                self._demand_home()
            chain = self._chain()
            if entry in chain:
                return
            if said.seq != len(chain) + 1:
                raise ControlConflictError("The device list goes on otherwise. Read it again.")
            path = self._home / "devices" / f"{said.seq:0{SEQ_DIGITS}d}-{said.hash.hex()}.entry"
            folder_files.put(path, entry)
            if self._chain()[said.seq - 1] != entry:
                path.unlink(missing_ok=True)
                raise ControlConflictError("Another device was faster. Read the list again.")

    def put_back(self) -> None:
        with in_plain_words(self._root):
            lives = self._home / "lives"
            lives.mkdir(parents=True, exist_ok=True)
            handle, _ = tempfile.mkstemp(dir=lives, prefix="", suffix=".life")
            os.close(handle)

    def put_segment(self, name: str, sealed: bytes) -> None:
        with in_plain_words(self._root):
            self._snapshots.put_segment(name, sealed)

    def segment(self, name: str) -> bytes:
        return self._snapshots.segment(name)

    def put_manifest(self, manifest: bytes) -> None:
        with in_plain_words(self._root):
            self._snapshots.put_manifest(manifest)

    def manifests(self) -> list[bytes]:
        """Of snapshots that are wholly there; what covers most comes first."""
        with in_plain_words(self._root):
            return self._snapshots.manifests()

    def cosign(self, manifest: bytes, signature: bytes) -> None:
        with in_plain_words(self._root):
            self._snapshots.cosign(manifest, signature)

    def cosignatures(self, manifest: bytes) -> list[bytes]:
        with in_plain_words(self._root):
            return self._snapshots.cosignatures(manifest)

    def lost(self, known: Known, *, now_ms: int, thoroughly: bool) -> list[Loss]:
        with in_plain_words(self._root):
            self._look(max(self._base, 0), thoroughly=thoroughly)
            self._shelf.check_links(known.heads, self._judge())
            covered = self._snapshots.covered(self._wrote)
            wanted = [(stream, of, True) for stream, of in known.own.items()]
            wanted += [
                (stream, Range(covered.get(stream, 0) + 1, seq), False)
                for stream, (seq, _) in known.heads.items()
            ]
            found = [
                Loss(flaw=self._shelf.flaw_at(stream, each), stream=stream, batches=each)
                for stream, of, is_own in wanted
                if self._shelf.is_settled(stream, now_ms) or thoroughly or stream in known.doubted
                for each in self._shelf.missing(stream, of, only_whole=is_own)
            ]
            reached = {stream: of.last for stream, of in known.own.items()}
            reached |= {stream: seq for stream, (seq, _) in known.heads.items()}
            found += [
                Loss(flaw=flaw, stream=stream, batches=each, is_new=True)
                for stream, flaw, each in self._shelf.late(reached, now_ms)
            ]
            found += self._snapshots.lost(known.snapshots)
            folder_files.demand(self._root)  # else it was taken away while we looked
            return found

    def put_vector_list(self, raw: bytes) -> None:
        with in_plain_words(self._root):
            self._snapshots.put_vector_list(raw)

    def vector_lists(self) -> list[bytes]:
        with in_plain_words(self._root):
            return self._snapshots.vector_lists()

    def wait(self, reached: Reached, *, seconds: float) -> bool:
        """Looks every other second whether any file came, went or changed, and once more when that is over."""
        left = seconds
        while True:
            with in_plain_words(self._root):
                there = frozenset(self._everything())
            if there != self._waited:
                self._waited, self._rests_in = there, SETTLED_MS / 1_000 + _LOOK_EVERY_SECONDS
                return True
            if left <= 0:
                return False
            self._sleep(min(_LOOK_EVERY_SECONDS, left))
            left -= _LOOK_EVERY_SECONDS
            if self._rests_in > 0:
                self._rests_in -= _LOOK_EVERY_SECONDS
                if self._rests_in <= 0:
                    return True

    # --- what is there -----------------------------------------------------------------------------------

    @property
    def _home(self) -> Path:
        if self._vault is None:
            raise NoVaultError("There is no vault in this folder yet.")
        return self._root / "sunaiva" / self._vault.hex()

    def _demand_home(self) -> None:
        """An empty place where a drive should be looks like one whose files somebody deleted. It is not filled unasked."""
        if not self._home.is_dir():
            raise BusyError(
                f"There is nothing of this vault in {self._root}. Sync goes on when it is there again, as when a drive is plugged in. If "
                "it was deleted, `sunaiva sync put-back` puts everything there anew from here."
            )

    def _begin_anew_if_told(self) -> None:
        """Where somebody put the vault back, files that were read here may be gone."""
        lives = "".join(path.name for path in folder_files.looks(self._home / "lives", ".life"))
        generation = GENERATION
        if lives:
            generation += f"-{hashlib.sha256(lives.encode()).hexdigest()[:_GENERATION_DIGITS]}"
        if generation != self._generation:
            self._generation = generation
            self._base, self._log = -1, []
            self._enter(self._vault)

    def _look(self, after: int, *, thoroughly: bool = False) -> None:
        """Find what is new. Asked for something from before it began, it begins there, with everything."""
        heads: dict[bytes, int] = {}
        begins = self._base < 0 or after < self._base
        if begins:
            seen = self._seen()
            if self._base < 0 and 0 < seen.cursor <= after:
                heads = dict(seen.heads)
            self._base, self._log = after, []
        new = self._shelf.refresh(self._judge(), anew=begins, thoroughly=thoroughly)
        fresh = [frame for frame in new if frame.header.seq > heads.get(frame.header.stream, 0)]
        self._log += sorted(fresh, key=lambda frame: (frame.header.stream, frame.header.seq))

    def _there(self, stream: bytes, first: int) -> dict[int, bytes]:
        """What there is of an own stream about the place from which on something is sent. What anybody may have put there is no
        batch of this device."""
        made = self._judge()
        return {
            frame.header.seq: frame.hash
            for frame in self._shelf.frames_from(stream, first)
            if frame.header.seq < first or made(frame, stream)
        }

    def _judge(self) -> Callable[[Frame, bytes], bool]:
        """Whether the owner of a stream made a batch; of one that nobody has admitted yet, nobody knows."""
        _, members = self._read_list()

        def made(frame: Frame, stream: bytes) -> bool:
            refused = None if members is None else relay.authenticate(members, frame)
            is_genuine = refused is None or refused.reason == "unknown_device"
            return is_genuine and frame.header.stream == stream

        return made

    def _wrote(self, raw: bytes, manifest: Manifest) -> bool:
        _, members = self._read_list()
        if members is None or not relay.is_active(members, manifest.device):
            return False
        try:
            manifests.verify(raw, members.members[manifest.device].sign_public)
        except ForgedError:
            return False
        return True

    def _everything(self) -> list[tuple[Path, Look]]:
        """All that devices tell each other by, as it looks in a listing."""
        home = self._home
        streams = folder_files.folders(home / "streams")
        return [
            each
            for folder in (home / "devices", home / "manifests", home / "segments", *streams)
            for each in folder_files.looks(folder, "").items()
        ]

    def _entries(self) -> dict[Path, Look]:
        return folder_files.looks(self._home / "devices", ".entry")

    def _chain(self) -> list[bytes]:
        return self._read_list()[0] if self._vault is not None else []

    def _read_list(self) -> tuple[list[bytes], Members | None]:
        """The entries that follow each other; of two for one place the one with the smaller hash, which its name begins with."""
        listed = tuple(self._entries().items())
        if listed != self._listed:
            chain: list[bytes] = []
            newer: list[bytes] = []
            members: Members | None = None
            for path, _ in listed:
                entry = b""
                try:
                    entry = folder_files.read(path, entries.ENTRY_BYTES_MAX)
                    members = (
                        control.begin(entry) if members is None else control.extend(members, entry)
                    )
                except NewerListError:
                    # It has its place, though it is not understood: nothing else may be put there. Unless it is only damaged.
                    if entries.entry_hash(entry).hex() in path.name:
                        newer = [entry]
                except (SunaivaError, OSError):
                    continue  # half there, or it lost its place
                else:
                    chain.append(entry)
                    newer = []
            self._listed, self._list = listed, (chain + newer, members)
        return self._list


def vaults(folder: Path) -> list[bytes]:
    """The vaults that are in a folder."""
    found = (path.name for path in folder_files.folders(folder / "sunaiva"))
    return [bytes.fromhex(name) for name in found if _VAULT.fullmatch(name)]


def _runs(new: Sequence[Frame], damaged: set[str]) -> list[list[Frame]]:
    """As files hold them: without gaps, and each in the file that it was in before, if that is to be made good."""
    found: list[list[Frame]] = []
    for frame in new:
        is_next = bool(found) and frame.header.seq == found[-1][-1].header.seq + 1
        if is_next and folder_shelf.name_of(frame) not in damaged:
            found[-1].append(frame)
        else:
            found.append([frame])
    return found
