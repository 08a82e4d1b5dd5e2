"""Snapshots in a folder: sealed pieces, manifests that name them, and the signatures of devices that vouch for them.

A snapshot is there once its manifest and every piece of it are. Files are read again only when they look otherwise than before.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from shared import agreement
from sync_service.changes.ops import MalformedError
from sync_service.sealed import manifests, pieces, vectors
from sync_service.sealed.manifests import Manifest
from sync_service.transport import Flaw, Loss, NoSegmentError
from sync_service.transports import folder_files
from sync_service.transports.folder_files import Look

# More devices than a person has; what else is signed so is read by nobody.
_COSIGNATURES_MAX = 128
_VECTOR_LISTS_MAX = 16  # the last of each device; older ones count no more
_MANIFEST = ".manifest"

Judge = Callable[[bytes, Manifest], bool]
"""Whether a device of today wrote this manifest."""


class _Found(Struct, frozen=True):
    look: Look
    raw: bytes
    manifest: Manifest
    id: bytes


class FolderSnapshots:
    """Those of one vault. Remembers the manifests that it has read."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._read: dict[Path, _Found] = {}

    def put_segment(self, name: str, sealed: bytes) -> None:
        folder_files.put(self._home / "segments" / name, sealed)

    def segment(self, name: str) -> bytes:
        try:
            return folder_files.read(self._home / "segments" / name, pieces.SEGMENT_BYTES_MAX)
        except OSError:
            raise NoSegmentError("A piece of a snapshot is not in the folder yet.") from None

    def put_manifest(self, manifest: bytes) -> None:
        name = f"{manifests.id_of(manifest).hex()}{_MANIFEST}"
        folder_files.put(self._home / "manifests" / name, manifest)

    def cosign(self, manifest: bytes, signature: bytes) -> None:
        name = f"{manifest.hex()}-{signature[:8].hex()}.signature"
        folder_files.put(self._home / "manifests" / name, signature)

    def cosignatures(self, manifest: bytes) -> list[bytes]:
        found = [
            path
            for path in folder_files.looks(self._home / "manifests", ".signature")
            if path.name.startswith(f"{manifest.hex()}-")
        ]
        return [
            folder_files.read(path, agreement.SIGNATURE_BYTES) for path in found[:_COSIGNATURES_MAX]
        ]

    def put_vector_list(self, raw: bytes) -> None:
        folder_files.put(self._home / "manifests" / f"{vectors.id_of(raw).hex()}.vectors", raw)

    def vector_lists(self) -> list[bytes]:
        """What came last comes first."""
        there = folder_files.looks(self._home / "manifests", ".vectors")
        newest = sorted(there, key=lambda path: there[path].mtime_ns, reverse=True)
        return [
            folder_files.read(path, vectors.LIST_BYTES_MAX) for path in newest[:_VECTOR_LISTS_MAX]
        ]

    def manifests(self) -> list[bytes]:
        """Of snapshots that are wholly there; what covers most comes first."""
        there = [(sum(head.seq for head in one.manifest.covers), one.raw) for one in self._whole()]
        return [raw for _, raw in sorted(there, reverse=True)]

    def covered(self, judge: Judge) -> dict[bytes, int]:
        """How far each stream is in a snapshot that is wholly there."""
        reached: dict[bytes, int] = {}
        for one in self._whole():
            if judge(one.raw, one.manifest):
                for head in one.manifest.covers:
                    reached[head.stream] = max(head.seq, reached.get(head.stream, 0))
        return reached

    def lost(self, known: Sequence[bytes]) -> list[Loss]:
        """Whether the newest snapshot that was here is no longer whole, and nothing newer is there in its place."""
        if not known:
            return []
        # Looked at once: while something carries the folder, another look may show it whole.
        there, looks = self._manifests(), self._segments()
        whole = {one.id for one in there if _harmed(one, looks) is None}
        if known[0] in whole or whole - set(known):
            return []
        harmed = next((_harmed(one, looks) for one in there if one.id == known[0]), None)
        if harmed is None:
            name = f"{known[0].hex()}{_MANIFEST}"
            manifest = folder_files.looks(self._home / "manifests", name)
            return [Loss(flaw=_flaw_of(next(iter(manifest.values()), None)))]
        return [Loss(flaw=_flaw_of(looks.get(harmed)))]

    def _whole(self) -> list[_Found]:
        looks = self._segments()
        return [one for one in self._manifests() if _harmed(one, looks) is None]

    def _segments(self) -> dict[str, Look]:
        found = folder_files.looks(self._home / "segments", "")
        return {path.name: look for path, look in found.items()}

    def _manifests(self) -> list[_Found]:
        before, self._read = self._read, {}
        for path, look in folder_files.looks(self._home / "manifests", _MANIFEST).items():
            known = before.get(path)
            if known is None or known.look != look:
                try:
                    raw = folder_files.read(path, manifests.MANIFEST_BYTES_MAX)
                    known = _Found(look, raw, manifests.read(raw), manifests.id_of(raw))
                except (MalformedError, OSError):
                    continue  # half there
            self._read[path] = known
        return list(self._read.values())


def _harmed(one: _Found, looks: Mapping[str, Look]) -> str | None:
    """The name of the first piece that is not there as its manifest says; None if the snapshot is whole."""
    for each in one.manifest.segments:
        look = looks.get(each.name)
        if look is None or look.size != each.size:
            return each.name
    return None


def _flaw_of(look: Look | None) -> Flaw:
    return "gone" if look is None else "cut" if look.size else "empty"
