"""Devices of tests: what they seal, and what they do over HTTP."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from httpx import Response
from msgspec import Struct, field

from cloud_api.db import AccountId, Connection
from cloud_api.sync.rules import No, Yes
from shared.agreement import sign
from sync_service.changes.ops import Head
from sync_service.members import amend, control
from sync_service.members.control import Members
from sync_service.relay import token_statement
from sync_service.sealed.frames import NO_HASH, Frame, parse, seal
from sync_service.sealed.keys import Seeds, device_id, sign_public, stream_id
from sync_service.sealed.manifests import Manifest, write
from sync_service.sealed.pieces import Segment
from tests.cloud_api.accounts.people import Person
from tests.sync.circle import adding, by, by_words, epoch_key, revoking, rotating, seeds_of

OCTETS = {"content-type": "application/octet-stream"}
ORIGIN = "http://127.0.0.1:8400"


class Subscription:
    """Whether accounts may push: a test says so."""

    def __init__(self) -> None:
        self.verdict: Yes | No = Yes()

    async def may_push(self, _: Connection, __: AccountId) -> Yes | No:
        return self.verdict


class Vault(Struct):
    """The device list, as all of its devices know it."""

    members: Members
    chain: list[bytes]

    @property
    def id(self) -> UUID:
        return UUID(bytes=self.members.vault)

    def append(self, entry: bytes) -> bytes:
        self.members = control.extend(self.members, entry)
        self.chain.append(entry)
        return entry


class Device(Struct):
    """A device with a pass, that seals what it is told to."""

    person: Person
    vault: Vault
    name: str
    access_token: str = ""
    incarnation: int = 1
    sealed: list[Frame] = field(default_factory=list)

    @property
    def seeds(self) -> Seeds:
        return seeds_of(self.name)

    @property
    def id(self) -> UUID:
        return UUID(bytes=device_id(sign_public(self.seeds)))

    @property
    def stream(self) -> bytes:
        return stream_id(sign_public(self.seeds), self.incarnation)

    @property
    def url(self) -> str:
        return f"/api/v1/vaults/{self.vault.id}"

    def seal(self, content: bytes = b"sealed", **changed: Any) -> Frame:
        """The next batch of its stream."""
        last = self.sealed[-1] if self.sealed else None
        seq = last.header.seq + 1 if last else 1
        members = self.vault.members
        values = {
            "vault": members.vault,
            "stream": self.stream,
            "seq": seq,
            "epoch": members.epoch,
            "control_seq": members.seq,
            "prev_hash": last.hash if last else NO_HASH,
            "epoch_key": epoch_key(members.epoch),
            "sign_seed": self.seeds.sign,
            "salt": hashlib.sha256(content + seq.to_bytes(8, "big")).digest()[:24],
        }
        frame = seal(content, **{**values, **changed})
        self.sealed.append(frame)
        return frame

    async def let_in(self, origin: str = ORIGIN) -> Response:
        asked = await self.person.client.post(f"{self.url}/challenge")
        answer = await self.answer(asked.json()["nonce"], origin)
        if answer.status_code == 200:
            self.access_token = answer.json()["access_token"]
        return answer

    async def answer(self, nonce: str, origin: str = ORIGIN) -> Response:
        statement = token_statement(
            vault=self.vault.members.vault,
            device=self.id.bytes,
            nonce=base64.b64decode(nonce),
            origin=origin,
        )
        body = {
            "device": str(self.id),
            "nonce": nonce,
            "signature": text(sign(self.seeds.sign, statement)),
        }
        return await self.person.client.post(f"{self.url}/token", json=body)

    async def push(self, *frames: Frame) -> Response:
        return await self.put("/batches", b"".join(one.raw for one in frames), method="POST")

    async def wrote(self, *contents: bytes) -> list[int]:
        """Seals and pushes; the positions."""
        answer = await self.push(*(self.seal(content) for content in contents))
        assert answer.status_code == 200, answer.text
        return [each["pos"] for each in answer.json()["placed"]]

    async def pull(self, after: int = 0, **query: Any) -> Response:
        return await self.get("/batches", after=after, **query)

    async def read(self, after: int = 0, **query: Any) -> list[tuple[int, Frame]]:
        answer = await self.pull(after, **query)
        assert answer.status_code == 200, answer.text
        return page_of(answer.content)

    async def get(self, path: str = "", **query: Any) -> Response:
        return await self.person.client.get(f"{self.url}{path}", params=query, headers=self.headers)

    async def put(self, path: str, content: bytes, *, method: str = "PUT") -> Response:
        return await self.person.client.request(
            method, f"{self.url}{path}", content=content, headers={**self.headers, **OCTETS}
        )

    async def post(self, path: str, body: object) -> Response:
        return await self.person.client.post(f"{self.url}{path}", json=body, headers=self.headers)

    async def append(self, entry: bytes) -> Response:
        answer = await self.put("/control", entry, method="POST")
        if answer.status_code == 200 and entry not in self.vault.chain:
            self.vault.append(entry)
        return answer

    async def paired(self, name: str) -> "Device":
        """Another device of the same vault, let in."""
        answer = await self.append(adding(self.vault.members, name, by(self.name)))
        assert answer.status_code == 200, answer.text
        device = Device(self.person, self.vault, name)
        assert (await device.let_in()).status_code == 200
        return device

    async def revoke(
        self, other: "Device", lasts: dict[bytes, tuple[int, bytes]] | None = None
    ) -> Response:
        members = self.vault.members
        if lasts is None:
            return await self.append(revoking(members, other.name, by(self.name)))
        return await self.append(amend.revoke(members, by(self.name), other.id.bytes, lasts))

    def manifest(self, segments: Sequence[tuple[str, bytes]], *, seq: int | None = None) -> bytes:
        """Of a snapshot that covers its own stream up to `seq`."""
        last = self.sealed[-1 if seq is None else seq - 1]
        said = Manifest(
            vault=self.vault.members.vault,
            device=self.id.bytes,
            covers=(Head(self.stream, last.header.seq, last.hash),),
            segments=tuple(
                Segment(name, len(data), hashlib.sha256(data).digest()) for name, data in segments
            ),
            sealed=b"",
        )
        return write(said, self.seeds.sign)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access_token}"}


def new_vault(first: str, words: str = "words", nonce: bytes = bytes(16)) -> Vault:
    entry = amend.found(seeds_of(words), nonce=nonce)
    vault = Vault(control.begin(entry), [entry])
    vault.append(adding(vault.members, first, by_words(words)))
    vault.append(rotating(vault.members, by(first)))
    return vault


async def create(person: Person, vault: Vault) -> Response:
    return await person.post("/vaults", {"entries": [text(entry) for entry in vault.chain]})


async def founded(person: Person, name: str, nonce: bytes = bytes(16)) -> Device:
    """A vault, and its first device, let in."""
    vault = new_vault(name, nonce=nonce)
    answer = await create(person, vault)
    assert answer.status_code == 201, answer.text
    device = Device(person, vault, name)
    assert (await device.let_in()).status_code == 200
    return device


def page_of(body: bytes) -> list[tuple[int, Frame]]:
    found = []
    while body:
        pos, length = int.from_bytes(body[:8], "big"), int.from_bytes(body[124:128], "big")
        end = 8 + 120 + length + 64
        found.append((pos, parse(body[8:end])))
        body = body[end:]
    return found


def parts_of(body: bytes) -> list[bytes]:
    found = []
    while body:
        end = 4 + int.from_bytes(body[:4], "big")
        found.append(body[4:end])
        body = body[end:]
    return found


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
