"""Batches as no honest device seals them."""

from sync_service.device import log
from sync_service.device.log import OwnFrame
from sync_service.sealed import frames
from tests.sync.devices import Device


def send(device: Device, content: bytes, *, key: bytes | None = None) -> None:
    """Seals and sends these bytes, whatever they are, as this device."""
    with device.replica.transaction() as db:
        me = log.read(db)
        frame = frames.seal(
            content,
            vault=me.vault,
            stream=me.stream,
            seq=me.seq + 1,
            epoch=1,
            control_seq=log.control_seq(db),
            prev_hash=me.head,
            epoch_key=key or log.epoch_keys(db)[1],
            sign_seed=me.sign_seed,
            salt=device.random(24),
        )
        log.keep_frame(db, OwnFrame(me.stream, me.seq + 1, frame.hash, frame.raw))
        log.write(db, seq=me.seq + 1, head=frame.hash)
    device.line.push([frame.raw])
