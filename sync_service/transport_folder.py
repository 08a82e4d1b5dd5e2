"""A plain folder instead of a server: a USB stick, a network share, or a drive that some other program carries between machines.

Every device writes files of its own only, each complete before it has its name, and never again afterwards; so it does not matter in
which order files arrive, and what is half there is looked at again later. Nothing counts globally: positions are this reader's own, of
the frames in the order in which it found them. Whatever stands in the folder is checked by the engine like anything from a server.

Confession: there is no one to decide who was first. Two devices that change the device list at the same moment on a drive that
takes minutes to carry files both believe theirs; the entry with the smaller hash stays, and the other device has to be paired again.
"""

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from shared.errors import SunaivaError
from sync_service import control, entries, frames, manifests, relay, vectors
from sync_service.control import Members
from sync_service.frames import Frame
from sync_service.ops import MalformedError
from sync_service.transport import (
    PUSH_FRAMES_MAX,
    BusyError,
    ControlConflictError,
    ForkError,
    NoSegmentError,
    NoVaultError,
    Page,
    Pushed,
    Reached,
    SeqGapError,
    Standing,
)

GENERATION = "folder"
PAGE_FRAMES = 256
PAGE_BYTES = 4 * 1024 * 1024
_LOOK_EVERY_SECONDS = 2.0
_ENTRIES_AT_ONCE = 256
_SEQ_DIGITS = 20
_VECTOR_LISTS_MAX = 16  # the last of each device; older ones count no more
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
        self._vault = vault
        self._seen = seen
        self._sleep = sleep
        self._log: list[Frame] = []
        self._base = -1
        self._files: dict[Path, int] = {}

    def standing(self) -> Standing:
        with _in_plain_words(self._root):
            if not self._control_files():
                raise NoVaultError("There is no vault in this folder yet.")
            self._look(self._seen().cursor)
            return Standing(
                generation=GENERATION,
                head_pos=self._base + len(self._log),
                min_pos=1,
                control_seq=len(self._chain()),
                may_push=True,
            )

    def push(self, batches: Sequence[bytes]) -> Pushed:
        sent = frames.split(b"".join(batches), most=PUSH_FRAMES_MAX)
        with _in_plain_words(self._root):
            stream = sent[0].header.stream
            first = sent[0].header.seq
            _, members = self._list()
            # What anybody may have put where this device is about to write is no batch of its own.
            there = {
                frame.header.seq: frame.hash
                for frame in self._stream(stream)
                if frame.header.seq < first
                or (members is not None and relay.authenticate(members, frame) is None)
            }
            new = [frame for frame in sent if frame.header.seq not in there]
            for frame in sent:
                if there.get(frame.header.seq, frame.hash) != frame.hash:
                    raise ForkError(stream, frame.header.seq)
            expected = max(there, default=0) + 1
            if new and new[0].header.seq > expected:
                raise SeqGapError(stream, expected)
            if new:
                name = f"{new[0].header.seq:0{_SEQ_DIGITS}d}-{new[0].hash[:4].hex()}.batches"
                body = b"".join(frame.raw for frame in new)
                _put(self._home / "streams" / stream.hex() / name, body)
            self._look(max(self._base, 0))
            at = {frame.hash: pos for pos, frame in enumerate(self._log, self._base + 1)}
            placed = tuple((frame.header.seq, at.get(frame.hash, 0)) for frame in sent)
            return Pushed(
                generation=GENERATION, placed=placed, head_pos=self._base + len(self._log)
            )

    def pull(self, after: int, *, generation: str | None) -> Page:
        with _in_plain_words(self._root):
            self._look(after)
        shown: list[tuple[int, bytes]] = []
        size = 0
        for pos, frame in enumerate(self._log[after - self._base :], after + 1):
            size += len(frame.raw)
            if shown and (len(shown) == PAGE_FRAMES or size > PAGE_BYTES):
                break
            shown.append((pos, frame.raw))
        return Page(
            generation=GENERATION,
            frames=tuple(shown),
            head_pos=self._base + len(self._log),
            min_pos=1,
        )

    def control(self, after_seq: int) -> list[bytes]:
        with _in_plain_words(self._root):
            return self._chain()[after_seq : after_seq + _ENTRIES_AT_ONCE]

    def append_control(self, entry: bytes) -> None:
        said = entries.parse(entry)
        if self._vault is None:
            self._vault = control.begin(entry).vault
        with _in_plain_words(self._root):
            chain = self._chain()
            if entry in chain:
                return
            if said.seq != len(chain) + 1:
                raise ControlConflictError("The device list goes on otherwise. Read it again.")
            path = self._home / "devices" / f"{said.seq:0{_SEQ_DIGITS}d}-{said.hash.hex()}.entry"
            _put(path, entry)
            if self._chain()[said.seq - 1] != entry:
                path.unlink(missing_ok=True)
                raise ControlConflictError("Another device was faster. Read the list again.")

    def put_segment(self, name: str, sealed: bytes) -> None:
        with _in_plain_words(self._root):
            _put(self._home / "segments" / name, sealed)

    def segment(self, name: str) -> bytes:
        try:
            return _read(self._home / "segments" / name, manifests.SEGMENT_BYTES_MAX)
        except OSError:
            raise NoSegmentError("A piece of a snapshot is not in the folder yet.") from None

    def put_manifest(self, manifest: bytes) -> None:
        with _in_plain_words(self._root):
            name = f"{manifests.id_of(manifest).hex()}.manifest"
            _put(self._home / "manifests" / name, manifest)

    def manifests(self) -> list[bytes]:
        """Of snapshots that are wholly there; what covers most comes first."""
        found: list[tuple[int, bytes]] = []
        with _in_plain_words(self._root):
            for path in _files(self._home / "manifests", "*.manifest"):
                raw = _read(path, manifests.MANIFEST_BYTES_MAX)
                try:
                    manifest = manifests.read(raw)
                except MalformedError:
                    continue  # half there
                pieces = [self._home / "segments" / segment.name for segment in manifest.segments]
                if all(piece.exists() for piece in pieces):
                    found.append((sum(head.seq for head in manifest.covers), raw))
        return [raw for _, raw in sorted(found, reverse=True)]

    def cosign(self, manifest: bytes, signature: bytes) -> None:
        with _in_plain_words(self._root):
            _put(
                self._home / "manifests" / f"{manifest.hex()}-{signature[:8].hex()}.signature",
                signature,
            )

    def put_vector_list(self, raw: bytes) -> None:
        with _in_plain_words(self._root):
            _put(self._home / "manifests" / f"{vectors.id_of(raw).hex()}.vectors", raw)

    def vector_lists(self) -> list[bytes]:
        """What came last comes first."""
        with _in_plain_words(self._root):
            found = _files(self._home / "manifests", "*.vectors")
            found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            return [_read(path, vectors.LIST_BYTES_MAX) for path in found[:_VECTOR_LISTS_MAX]]

    def wait(self, reached: Reached, *, seconds: float) -> bool:
        """Looks again every other second."""
        left = seconds
        while True:
            with _in_plain_words(self._root):
                self._look(max(self._base, 0))
            is_news = self._base + len(self._log) > reached.head_pos
            if is_news or left <= 0:
                return is_news
            self._sleep(min(_LOOK_EVERY_SECONDS, left))
            left -= _LOOK_EVERY_SECONDS

    # --- what is there -----------------------------------------------------------------------------------

    @property
    def _home(self) -> Path:
        if self._vault is None:
            raise NoVaultError("There is no vault in this folder yet.")
        return self._root / "sunaiva" / self._vault.hex()

    def _look(self, after: int) -> None:
        """Find what is new. Asked for something from before it began, it begins there, with everything."""
        if self._base < 0 or after < self._base:
            seen = self._seen()
            is_first = self._base < 0 and after >= seen.cursor
            self._base, self._log, self._files = after, [], {}
            heads = dict(seen.heads) if is_first else {}
        else:
            heads = {}
        known = {frame.hash for frame in self._log}
        new: list[Frame] = []
        for path in _files(self._home / "streams", "*/*.batches"):
            size = path.stat().st_size
            if self._files.get(path) == size:
                continue
            batches = _batches(path)
            if batches:
                self._files[path] = size
            new += [
                frame
                for frame in batches
                if frame.hash not in known and frame.header.seq > heads.get(frame.header.stream, 0)
            ]
        self._log += sorted(new, key=lambda frame: (frame.header.stream, frame.header.seq))

    def _stream(self, stream: bytes) -> Iterator[Frame]:
        for path in _files(self._home / "streams" / stream.hex(), "*.batches"):
            yield from (frame for frame in _batches(path) if frame.header.stream == stream)

    def _control_files(self) -> list[Path]:
        if self._vault is None:
            return []
        return _files(self._home / "devices", "*.entry")

    def _chain(self) -> list[bytes]:
        return self._list()[0]

    def _list(self) -> tuple[list[bytes], Members | None]:
        """The entries that follow each other; of two for one place the one with the smaller hash, which its name begins with."""
        chain: list[bytes] = []
        members: Members | None = None
        for path in self._control_files():
            entry = _read(path, entries.ENTRY_BYTES_MAX)
            try:
                members = (
                    control.begin(entry) if members is None else control.extend(members, entry)
                )
            except SunaivaError:
                continue  # half there, or it lost its place
            chain.append(entry)
        return chain, members


def vaults(folder: Path) -> list[bytes]:
    """The vaults that are in a folder."""
    found = (path.name for path in sorted((folder / "sunaiva").glob("*")) if path.is_dir())
    return [bytes.fromhex(name) for name in found if _VAULT.fullmatch(name)]


def _files(folder: Path, pattern: str) -> list[Path]:
    """Not what only has such a name: to open a pipe would wait for ever."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _batches(path: Path) -> list[Frame]:
    """The batches in a file; none while it is not wholly there."""
    try:
        return frames.split(_read(path, frames.PUSH_BYTES_MAX), most=PUSH_FRAMES_MAX)
    except MalformedError:
        return []


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most + 1)


def _put(path: Path, content: bytes) -> None:
    """Under its name only once it is whole and on the disk. What is there already is left."""
    if path.exists() and path.stat().st_size == len(content):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def _in_plain_words(folder: Path) -> Iterator[None]:
    try:
        if not folder.is_dir():
            # Never made here: it may be where a stick is plugged in.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        yield
    except OSError as error:
        raise BusyError(
            f"The folder {folder} cannot be read or written now ({error.strerror}). Sync goes on when it is there again."
        ) from error
