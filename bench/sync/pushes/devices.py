"""Vaults and devices of the measurement: made over HTTP as a device makes them, with batches that were sealed beforehand."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from bench.load.servers import HOST
from shared.agreement import sign
from shared.errors import UnavailableError
from sync_service.members import amend, control, entries
from sync_service.members.entries import MEMBER_SIGNER, RECOVERY_SIGNER, Signer
from sync_service.relay import token_statement
from sync_service.sealed.frames import NO_HASH, seal
from sync_service.sealed.keys import Seeds, device_id, sign_public, stream_id

JSON = "application/json"
OCTETS = "application/octet-stream"


class Answer(Struct, frozen=True):
    status: int
    body: bytes


class Caller:
    """One connection that is kept open. A client library would take more of the machine than the server does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str, token: str, kind: str, body: bytes) -> Answer:
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
            f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        said = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(said.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        return Answer(int(said[9:12]), await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


async def caller(port: int) -> Caller:
    return Caller(*await asyncio.open_connection(HOST, port))


class Pusher(Struct):
    """A device with what it will push, in order."""

    path: str
    token: str
    batches: list[bytes]


def seeds_of(name: str) -> Seeds:
    return Seeds(*(hashlib.sha256(f"{part} {name}".encode()).digest() for part in ("sign", "kem")))


async def vault(
    asks: Caller, name: str, names: Sequence[str], *, account: str, origin: str, plan: "Plan"
) -> list[Pusher]:
    """A new vault of an account with these devices, each let in."""
    words = Signer(RECOVERY_SIGNER, seeds_of(f"{name} words"))
    chain = [amend.found(words.seeds, nonce=hashlib.sha256(name.encode()).digest()[:16])]
    members = control.begin(chain[0])
    by = words
    for each in names:
        newcomer = entries.introduce(seeds_of(f"{name} {each}"), vault=members.vault)
        chain.append(amend.add(members, by, newcomer, sealed_name=b"", epoch_key=None))
        members = control.extend(members, chain[-1])
        by = Signer(MEMBER_SIGNER, seeds_of(f"{name} {each}"))
    body = json.dumps({"entries": [base64.b64encode(entry).decode() for entry in chain]})
    path = f"/api/v1/vaults/{UUID(bytes=members.vault)}"
    await _expect(asks, "/api/v1/vaults", account, body.encode(), 201)
    return [
        Pusher(
            path,
            await _let_in(asks, path, members.vault, seeds_of(f"{name} {each}"), origin),
            sealed(members.vault, seeds_of(f"{name} {each}"), members.seq, plan),
        )
        for each in names
    ]


class Plan(Struct, frozen=True):
    pushes: int
    batch_bytes: int


def sealed(vault: bytes, seeds: Seeds, control_seq: int, plan: Plan) -> list[bytes]:
    """One stream, batch by batch."""
    stream = stream_id(sign_public(seeds), 1)
    frames: list[bytes] = []
    before = NO_HASH
    content = b"".join(
        hashlib.sha256(stream + number.to_bytes(4, "big")).digest()
        for number in range(plan.batch_bytes // 32)
    )
    for seq in range(1, plan.pushes + 1):
        frame = seal(
            content,
            vault=vault,
            stream=stream,
            seq=seq,
            epoch=1,
            control_seq=control_seq,
            prev_hash=before,
            epoch_key=bytes(32),
            sign_seed=seeds.sign,
            salt=hashlib.sha256(stream + seq.to_bytes(8, "big")).digest()[:24],
        )
        before = frame.hash
        frames.append(frame.raw)
    return frames


async def _let_in(asks: Caller, path: str, vault: bytes, seeds: Seeds, origin: str) -> str:
    found = json.loads(await _expect(asks, f"{path}/challenge", "", b"", 200))
    device = device_id(sign_public(seeds))
    nonce = base64.b64decode(found["nonce"])
    statement = token_statement(vault=vault, device=device, nonce=nonce, origin=origin)
    said = {
        "device": str(UUID(bytes=device)),
        "nonce": found["nonce"],
        "signature": base64.b64encode(sign(seeds.sign, statement)).decode(),
    }
    answer = await _expect(asks, f"{path}/token", "", json.dumps(said).encode(), 200)
    token: str = json.loads(answer)["access_token"]
    return token


async def _expect(asks: Caller, path: str, token: str, body: bytes, status: int) -> bytes:
    answer = await asks.ask("POST", path, token, JSON, body)
    if answer.status != status:
        raise UnavailableError(f"{path} answered {answer.status}: {answer.body[:300]!r}")
    return answer.body
