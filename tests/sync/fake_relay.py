"""A relay in memory: an honest one with the law of `sync_service.relay`, and one that does to its answers whatever a test wants.

`seen` is everything that a relay is ever given, for the audit of what it could learn.
"""

from collections.abc import Callable, Sequence

from shared.errors import ConflictError
from sync_service import relay
from sync_service.members import control
from sync_service.members.control import Members
from sync_service.relay import Admitted, Duplicate, Fork, Gap, StreamHead
from sync_service.sealed import frames, manifests
from sync_service.transport import (
    CompactedError,
    ControlConflictError,
    ForkError,
    GenerationChangedError,
    Known,
    Loss,
    NoSegmentError,
    NotEntitledError,
    NoVaultError,
    Page,
    Pushed,
    QuotaError,
    Reached,
    RefusedError,
    RevokedError,
    SeqGapError,
    Standing,
    VaultDeletedError,
)

Shown = tuple[tuple[int, bytes], ...]


class Relay:
    """What the server keeps."""

    def __init__(self, *, page_frames: int = 100) -> None:
        self.page_frames = page_frames
        self.seen: list[bytes] = []
        self.may_push = True
        self.is_full = False
        self.server_time_ms: int | None = None
        self.lives = 0
        self.deleted = False
        self.wipe()

    def wipe(self) -> None:
        """It begins anew, with nothing."""
        self.lives += 1
        self.generation = f"life-{self.lives}"
        self.entries: list[bytes] = []
        self.members: Members | None = None
        self.log: list[tuple[int, bytes]] = []
        self.head_pos = 0
        self.min_pos = 1
        self.hashes: dict[tuple[bytes, int], bytes] = {}
        self.heads: dict[bytes, StreamHead] = {}
        self.segments: dict[str, bytes] = {}
        self.manifests: list[bytes] = []
        self.vector_lists: list[bytes] = []
        self.cosigned: dict[bytes, dict[bytes, bytes]] = {}

    def delete(self) -> None:
        """Its owner deletes the vault."""
        self.wipe()
        self.deleted = True

    def backup(self) -> dict[str, object]:
        kept = ("entries", "members", "log", "head_pos", "min_pos", "hashes", "heads")
        copies = {name: getattr(self, name) for name in kept}
        return {
            name: value.copy() if isinstance(value, list | dict) else value
            for name, value in copies.items()
        }

    def restore(self, backup: dict[str, object]) -> None:
        """Put back from an old backup, without noticing."""
        for name, value in backup.items():
            setattr(self, name, value.copy() if isinstance(value, list | dict) else value)

    def split(self) -> "Relay":
        """Another with the same past, for a relay that shows different things to different devices. Both are one to the audit."""
        other = Relay(page_frames=self.page_frames)
        other.restore(self.backup())
        other.seen = self.seen
        other.lives, other.generation, other.min_pos = self.lives, self.generation, self.min_pos
        other.may_push, other.is_full = self.may_push, self.is_full
        other.segments, other.manifests = self.segments.copy(), self.manifests.copy()
        other.cosigned = {manifest: by.copy() for manifest, by in self.cosigned.items()}
        return other

    def compact(self) -> int:
        """Drop what a snapshot holds that enough devices vouch for; how many batches."""
        assert self.members is not None
        for raw in reversed(self.manifests):
            manifest = manifests.read(raw)
            cosigners = sorted(self.cosigned.get(manifests.id_of(raw), ()))
            if not relay.may_compact(self.members, manifest.device, cosigners):
                continue
            covers = {head.stream: head.seq for head in manifest.covers}
            reached = self.min_pos - 1
            for pos, batch in self.log:
                header = frames.parse(batch).header
                if header.seq > covers.get(header.stream, 0):
                    break
                reached = pos
            dropped = [pos for pos, _ in self.log if pos <= reached]
            self.log = [(pos, raw) for pos, raw in self.log if pos > reached]
            self.min_pos = reached + 1
            for place in [at for at in self.hashes if at[1] <= covers.get(at[0], 0)]:
                del self.hashes[place]
            return len(dropped)
        return 0


class Line:
    """One device's way to the relay, as `Transport`. `tamper` changes what is shown; `before` may raise, or let others run."""

    def __init__(self, server: Relay, device: bytes | None = None) -> None:
        self.relay = server
        self.device = device
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.tamper: Callable[[Shown], Shown] = lambda shown: shown
        self.tamper_control: Callable[[list[bytes]], list[bytes]] = lambda said: said
        self.pushes: list[bytes] = []

    def standing(self) -> Standing:
        self._begin("standing")
        return Standing(
            generation=self.relay.generation,
            head_pos=self.relay.head_pos,
            min_pos=self.relay.min_pos,
            control_seq=len(self.relay.entries),
            may_push=self.relay.may_push,
            server_time_ms=self.relay.server_time_ms,
        )

    def push(self, batches: Sequence[bytes]) -> Pushed:
        members = self._begin("push")
        self.pushes += batches
        self.relay.seen += batches
        if not self.relay.may_push:
            raise NotEntitledError("Nothing new is taken from this account.")
        if self.relay.is_full:
            raise QuotaError("There is no room for more of this vault.")
        heads = dict(self.relay.heads)
        admitted: list[tuple[frames.Frame, bool]] = []
        for frame in frames.split(b"".join(batches), most=frames.PUSH_FRAMES_MAX):
            stream, seq = frame.header.stream, frame.header.seq
            stored = self.relay.hashes.get((stream, seq))
            verdict = relay.admit(members, frame, heads.get(stream), stored=stored)
            match verdict:
                case Admitted(head):
                    heads[stream] = head
                    admitted.append((frame, True))
                case Duplicate():
                    admitted.append((frame, False))
                case Gap(expected):
                    raise SeqGapError(stream, expected)
                case Fork():
                    raise ForkError(stream, seq)
                case _:
                    raise RefusedError(verdict.reason)
        placed = [self._store(frame, is_new=is_new) for frame, is_new in admitted]
        self.relay.heads = heads
        self.after("push")
        return Pushed(
            generation=self.relay.generation, placed=tuple(placed), head_pos=self.relay.head_pos
        )

    def _store(self, frame: frames.Frame, *, is_new: bool) -> tuple[int, int]:
        seq = frame.header.seq
        if is_new:
            self.relay.head_pos += 1
            self.relay.log.append((self.relay.head_pos, frame.raw))
            self.relay.hashes[frame.header.stream, seq] = frame.hash
        pos = next((pos for pos, raw in self.relay.log if raw == frame.raw), 0)
        return seq, pos

    def pull(self, after: int, *, generation: str | None) -> Page:
        self._begin("pull")
        if generation not in (None, self.relay.generation):
            raise GenerationChangedError(self.relay.generation)
        if after + 1 < self.relay.min_pos:
            raise CompactedError(self.relay.min_pos)
        first = after - self.relay.min_pos + 1
        shown = tuple(self.relay.log[max(0, first) : max(0, first) + self.relay.page_frames])
        self.after("pull")
        return Page(
            generation=self.relay.generation,
            frames=self.tamper(shown),
            head_pos=self.relay.head_pos,
            min_pos=self.relay.min_pos,
        )

    def control(self, after_seq: int) -> list[bytes]:
        self.before("control")
        self._demand_not_deleted()
        return self.tamper_control(self.relay.entries[after_seq : after_seq + 100])

    def append_control(self, entry: bytes) -> None:
        self.before("append_control")
        self._demand_not_deleted()
        self.relay.seen.append(entry)
        if entry in self.relay.entries:
            return
        try:
            members = self.relay.members
            after = control.begin(entry) if members is None else control.extend(members, entry)
        except control.OutOfOrderError as error:
            raise ControlConflictError(str(error)) from None
        except ConflictError as error:
            raise RefusedError(str(error)) from None
        if members is not None and relay.is_stranding(members, after, self.relay.heads):
            raise ControlConflictError("It has sent more than that.")
        self.relay.members = after
        self.relay.entries.append(entry)
        self.after("append_control")

    def put_back(self) -> None:
        self.before("put_back")
        self.relay.deleted = False

    def put_segment(self, name: str, sealed: bytes) -> None:
        self._begin("put_segment")
        self.relay.seen += [name.encode(), sealed]
        self.relay.segments[name] = sealed
        self.after("put_segment")

    def segment(self, name: str) -> bytes:
        self._begin("segment")
        if name not in self.relay.segments:
            raise NoSegmentError("There is no such segment.")
        return self.relay.segments[name]

    def put_manifest(self, manifest: bytes) -> None:
        self._begin("put_manifest")
        self.relay.seen.append(manifest)
        self.relay.manifests.append(manifest)
        self.after("put_manifest")

    def manifests(self) -> list[bytes]:
        self._begin("manifests")
        return self.relay.manifests[::-1]

    def cosign(self, manifest: bytes, signature: bytes) -> None:
        members = self._begin("cosign")
        assert self.device is not None
        public = members.members[self.device].sign_public
        manifests.verify_cosignature(signature, manifest, members.vault, public)
        self.relay.cosigned.setdefault(manifest, {})[self.device] = signature
        self.after("cosign")

    def cosignatures(self, manifest: bytes) -> list[bytes]:
        self._begin("cosignatures")
        return list(self.relay.cosigned.get(manifest, {}).values())

    def lost(self, known: Known, *, now_ms: int, thoroughly: bool) -> list[Loss] | None:
        return None

    def put_vector_list(self, raw: bytes) -> None:
        self._begin("put_vector_list")
        self.relay.seen.append(raw)
        self.relay.vector_lists.append(raw)

    def vector_lists(self) -> list[bytes]:
        self._begin("vector_lists")
        return self.relay.vector_lists[::-1]

    def wait(self, reached: Reached, *, seconds: float) -> bool:
        return self.relay.head_pos > reached.head_pos

    def _begin(self, name: str) -> Members:
        self.before(name)
        self._demand_not_deleted()
        if self.relay.members is None:
            raise NoVaultError("There is no such vault.")
        if self.device is not None and not relay.is_active(self.relay.members, self.device):
            raise RevokedError("This device was removed from the vault.")
        return self.relay.members

    def _demand_not_deleted(self) -> None:
        if self.relay.deleted:
            raise VaultDeletedError("This vault was deleted here by its owner.")
