"""A transport that counts what goes through it, for the person to see: batches and bytes, there and back."""

from collections.abc import Sequence

from mcp_server.vault.meeting import Amount
from sync_service.transport import Known, Loss, Page, Pushed, Reached, Standing, Transport


class Counted:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.sent = Amount()
        self.received = Amount()

    def standing(self) -> Standing:
        return self._transport.standing()

    def push(self, frames: Sequence[bytes]) -> Pushed:
        pushed = self._transport.push(frames)
        _add(self.sent, frames)
        return pushed

    def pull(self, after: int, *, generation: str | None) -> Page:
        page = self._transport.pull(after, generation=generation)
        _add(self.received, [raw for _, raw in page.frames])
        return page

    def control(self, after_seq: int) -> list[bytes]:
        return self._transport.control(after_seq)

    def append_control(self, entry: bytes) -> None:
        self._transport.append_control(entry)

    def put_back(self) -> None:
        self._transport.put_back()

    def put_segment(self, name: str, sealed: bytes) -> None:
        self._transport.put_segment(name, sealed)
        self.sent.size_bytes += len(sealed)

    def segment(self, name: str) -> bytes:
        sealed = self._transport.segment(name)
        self.received.size_bytes += len(sealed)
        return sealed

    def put_manifest(self, manifest: bytes) -> None:
        self._transport.put_manifest(manifest)

    def manifests(self) -> list[bytes]:
        return self._transport.manifests()

    def cosign(self, manifest: bytes, signature: bytes) -> None:
        self._transport.cosign(manifest, signature)

    def cosignatures(self, manifest: bytes) -> list[bytes]:
        return self._transport.cosignatures(manifest)

    def lost(self, known: Known, *, now_ms: int, thoroughly: bool) -> list[Loss] | None:
        return self._transport.lost(known, now_ms=now_ms, thoroughly=thoroughly)

    def put_vector_list(self, raw: bytes) -> None:
        self._transport.put_vector_list(raw)

    def vector_lists(self) -> list[bytes]:
        return self._transport.vector_lists()

    def wait(self, reached: Reached, *, seconds: float) -> bool:
        return self._transport.wait(reached, seconds=seconds)


def _add(amount: Amount, frames: Sequence[bytes]) -> None:
    amount.batches += len(frames)
    amount.size_bytes += sum(map(len, frames))
