"""Which batches stand in the files of a folder, and which files are not as they were written.

A file is read when it is first seen and whenever its size or date changes, not each time: what is remembered of it are the stretches of
batches in it. That they follow each other, within a file and from one to the next, shows most damage without a signature being checked;
where they do not, every batch of these files is. What is wrong with a file takes nothing away from what is right in the others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise, starmap
from pathlib import Path

from msgspec import Struct

from sync_service.changes import ops
from sync_service.changes.ops import MalformedError
from sync_service.sealed import frames
from sync_service.sealed.frames import Frame
from sync_service.transport import Flaw, Range
from sync_service.transports import folder_files
from sync_service.transports.folder_files import NOT_FETCHED, Look

# Files come and go one after another while something carries them. What has rested for so long is how it stays.
SETTLED_MS = 30_000
# A file may be on its way for long; after so much time without a byte more somebody should look at what carries it.
LATE_MS = 600_000

SUFFIX = ".batches"
SEQ_DIGITS = 20

Judge = Callable[[Frame, bytes], bool]
"""Whether the owner of a stream (by its id) made this batch."""


class Span(Struct, frozen=True):
    """Batches of one stream that follow each other."""

    first: int
    last: int
    prev_hash: bytes
    hash: bytes


class Shelved(Struct, frozen=True):
    """What was found in a file."""

    look: Look
    spans: tuple[Span, ...] = ()
    flaw: Flaw | None = None
    is_checked: bool = False
    """Every signature in it was."""


class Shelf:
    """The streams of one vault in a folder. Remembers what it has read."""

    def __init__(self, streams: Path) -> None:
        self._streams = streams
        self._files: dict[bytes, dict[Path, Shelved]] = {}
        # When a stream last looked otherwise than before; None until somebody says what time it is.
        self._changed_ms: dict[bytes, int | None] = {}
        self._flawed_ms: dict[Path, int] = {}
        self._written: set[Path] = set()

    def refresh(self, judge: Judge, *, anew: bool = False, thoroughly: bool = False) -> list[Frame]:
        """The batches in files that are new or changed; `anew`: in all of them. `thoroughly`: all are read, and every signature is
        checked."""
        new: list[Frame] = []
        present = {stream: path for path in self._folders() if (stream := _stream_of(path))}
        for stream in self._files.keys() - present.keys():
            self._changed_ms[stream] = None
            del self._files[stream]
        for stream, folder in present.items():
            before = self._files.get(stream, {})
            after: dict[Path, Shelved] = {}
            for path, look in _looks(folder).items():
                known = before.get(path)
                is_same = known is not None and known.look == look
                if known is not None and is_same and not (anew or thoroughly):
                    after[path] = known
                    continue
                check = thoroughly or (known is not None and not is_same)
                after[path], there = _read(path, look, stream, judge, check=check)
                if anew or not is_same:
                    new += there
            self._files[stream] = after
            if _changed(before, after) - self._written:
                self._changed_ms[stream] = None
            self._written -= after.keys()
        return new

    def put(self, stream: bytes, run: list[Frame]) -> None:
        """Write batches of an own stream into a file, or over the damaged one that has their name."""
        path = self._streams / stream.hex() / name_of(run[0])
        self._written.add(path)
        folder_files.put(path, b"".join(frame.raw for frame in run))

    def frames_from(self, stream: bytes, seq: int) -> Iterator[Frame]:
        """Of the files in which batches from this one on, or the one before it, may be."""
        for path, shelved in self._files.get(stream, {}).items():
            if any(span.last >= seq - 1 for span in shelved.spans):
                # What was altered and looks as before is found by who reads everything; it keeps nobody from writing on.
                with suppress(MalformedError, OSError):
                    yield from (frame for frame in _frames(path) if frame.header.stream == stream)

    def last_before(self, stream: bytes, seq: int) -> int:
        """The last batch that there is before this one."""
        return max(
            (
                min(span.last, seq - 1)
                for shelved in self._files.get(stream, {}).values()
                for span in shelved.spans
                if span.first < seq
            ),
            default=0,
        )

    def flawed_names(self, stream: bytes) -> set[str]:
        return {path.name for path, each in self._files.get(stream, {}).items() if each.flaw}

    def check_links(self, heads: Mapping[bytes, tuple[int, bytes]], judge: Judge) -> None:
        """Look closely at files whose batches do not follow what is before them, or are not those that are known here."""
        for stream, files in self._files.items():
            for path in _suspicious(files, heads.get(stream)):
                if not files[path].is_checked:
                    found, _ = _read(path, files[path].look, stream, judge, check=True)
                    self._files[stream][path] = found

    def missing(self, stream: bytes, wanted: Range, *, only_whole: bool) -> list[Range]:
        """Which of these batches no file has; `only_whole`: no file in which all is right."""
        spans = [
            (span.first, span.last)
            for shelved in self._files.get(stream, {}).values()
            if not (only_whole and shelved.flaw)
            for span in shelved.spans
        ]
        return gaps(spans, wanted)

    def flaw_at(self, stream: bytes, lost: Range) -> Flaw:
        """Why these batches are not there."""
        for path, shelved in self._files.get(stream, {}).items():
            first = _seq_of(path)
            if shelved.flaw and first is not None and first <= lost.last:
                following = min(
                    (
                        seq
                        for other in self._files[stream]
                        if (seq := _seq_of(other)) is not None and seq > first
                    ),
                    default=None,
                )
                if following is None or following > lost.first:
                    return shelved.flaw
        return "gone"

    def is_settled(self, stream: bytes, now_ms: int) -> bool:
        """Whether nothing of this stream has come, gone or grown for a while."""
        changed_ms = self._changed_ms.get(stream)
        if changed_ms is None:
            self._changed_ms[stream] = now_ms
            return False
        return not 0 <= now_ms - changed_ms < SETTLED_MS

    def late(self, heads: Mapping[bytes, int], now_ms: int) -> list[tuple[bytes, Flaw, Range]]:
        """Files with what is not known here yet that have been the same, and not whole, for long."""
        flawed: dict[Path, int] = {}
        found: list[tuple[bytes, Flaw, Range]] = []
        for stream, files in self._files.items():
            rested = self.is_settled(stream, now_ms)
            for path, shelved in files.items():
                seq = _seq_of(path)
                if shelved.flaw is None or seq is None or seq <= heads.get(stream, 0):
                    continue
                flawed[path] = self._flawed_ms.get(path, now_ms) if rested else now_ms
                if not 0 <= now_ms - flawed[path] < LATE_MS:
                    found.append((stream, shelved.flaw, Range(seq, seq)))
        self._flawed_ms = flawed
        return found

    def _folders(self) -> list[Path]:
        return folder_files.folders(self._streams)


def name_of(frame: Frame) -> str:
    return f"{frame.header.seq:0{SEQ_DIGITS}d}-{frame.hash[:4].hex()}{SUFFIX}"


def gaps(spans: Iterable[tuple[int, int]], wanted: Range) -> list[Range]:
    """What of a range no span has."""
    found: list[Range] = []
    if wanted.first > wanted.last:
        return found
    expected = wanted.first
    for first, last in sorted(spans):
        if first > expected:
            found.append(Range(expected, min(first - 1, wanted.last)))
        expected = max(expected, last + 1)
        if expected > wanted.last:
            return found
    return [*found, Range(expected, wanted.last)] if expected <= wanted.last else found


def _looks(folder: Path) -> dict[Path, Look]:
    found = folder_files.looks(folder, "")
    there = {path: look for path, look in found.items() if path.name.endswith(SUFFIX)}
    away = (
        path.with_name(path.name[1 : -len(NOT_FETCHED)])
        for path in found
        if path.name.endswith(SUFFIX + NOT_FETCHED)
    )
    return dict.fromkeys(away, Look(0, 0)) | there


def _changed(before: Mapping[Path, Shelved], after: Mapping[Path, Shelved]) -> set[Path]:
    looks = [{path: each.look for path, each in files.items()} for files in (before, after)]
    return {
        path for path in before.keys() | after.keys() if looks[0].get(path) != looks[1].get(path)
    }


def _read(
    path: Path, look: Look, stream: bytes, judge: Judge, *, check: bool
) -> tuple[Shelved, list[Frame]]:
    if look.size == 0:
        return Shelved(look, flaw="empty", is_checked=True), []
    try:
        there = _frames(path)
    except MalformedError:
        return Shelved(look, flaw="cut", is_checked=True), []
    except OSError:
        return Shelved(look, flaw="unreadable", is_checked=True), []
    is_own = all(frame.header.stream == stream for frame in there)
    if not check and is_own and all(starmap(_follows, pairwise(there))):
        return Shelved(look, _spans(there)), there
    sound = [frame for frame in there if frame.header.stream == stream and judge(frame, stream)]
    flaw: Flaw | None = None if len(sound) == len(there) else "altered"
    return Shelved(look, _spans(sound), flaw, is_checked=True), sound


def _frames(path: Path) -> list[Frame]:
    return frames.split(folder_files.read(path, frames.PUSH_BYTES_MAX), most=frames.PUSH_FRAMES_MAX)


def _follows(before: Frame, after: Frame) -> bool:
    return after.header.seq == before.header.seq + 1 and after.header.prev_hash == before.hash


def _spans(there: list[Frame]) -> tuple[Span, ...]:
    found: list[Span] = []
    for at, frame in enumerate(there):
        seq, prev_hash = frame.header.seq, frame.header.prev_hash
        if at and _follows(there[at - 1], frame):
            found[-1] = Span(found[-1].first, seq, found[-1].prev_hash, frame.hash)
        else:
            found.append(Span(seq, seq, prev_hash, frame.hash))
    return tuple(found)


def _suspicious(files: Mapping[Path, Shelved], head: tuple[int, bytes] | None) -> set[Path]:
    ends: dict[int, list[tuple[bytes, Path]]] = {}
    for path, shelved in files.items():
        for span in shelved.spans:
            ends.setdefault(span.last, []).append((span.hash, path))
    found: set[Path] = set()
    for path, shelved in files.items():
        for span in shelved.spans:
            before = ends.get(span.first - 1, [])
            if before and all(hash_ != span.prev_hash for hash_, _ in before):
                found |= {path, *(other for _, other in before)}
    if head is not None:
        found |= {path for hash_, path in ends.get(head[0], []) if hash_ != head[1]}
    return found


def _stream_of(folder: Path) -> bytes | None:
    try:
        stream = bytes.fromhex(folder.name)
    except ValueError:
        return None
    return stream if len(stream) == ops.STREAM_BYTES else None


def _seq_of(path: Path) -> int | None:
    digits = path.name.partition("-")[0]
    return int(digits) if len(digits) == SEQ_DIGITS and digits.isdecimal() else None
