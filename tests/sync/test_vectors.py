"""The golden vectors: this implementation makes and reads them, and so does one that was written from docs/protocol.md alone."""

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import SunaivaError
from sync_service.changes import merge, ops
from sync_service.changes.merge import EMPTY
from sync_service.members import control, pairing
from sync_service.sealed import frames, keys, vectors
from tests.sync import golden


def vector(name: str) -> Any:
    return json.loads(golden.path_of(name).read_text(encoding="utf-8"))


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize("name", golden.DETERMINISTIC)
def test_what_is_made_today_is_what_was_made_before(name: str) -> None:
    made: Callable[[], Any] = golden.DETERMINISTIC[name]
    assert golden.in_hex(made()) == vector(name)


@pytest.mark.parametrize("case", [*vector("frames"), vector("compression")])
def test_golden_frames_open(case: Any) -> None:
    frame = frames.parse(unhex(case["frame"]))
    frames.verify(frame, unhex(case["sign_public"]))
    assert frames.open_frame(frame, unhex(case["epoch_key"])) == unhex(case["content"])


def test_golden_operations_are_read() -> None:
    held = vector("operations")
    for case in held["operations"]:
        assert ops.decode_op(unhex(case["bytes"])) == golden.OPS[case["name"]]
    assert ops.decode_content(unhex(held["content"])).ops == tuple(golden.OPS.values())


@pytest.mark.parametrize("case", vector("merging"), ids=lambda case: case["name"])
def test_golden_histories_merge_in_both_directions(case: Any) -> None:
    for operations in (case["operations"], case["operations"][::-1]):
        state = EMPTY
        for stream, op in operations:
            state = merge.apply(state, ops.decode_op(unhex(op)), unhex(stream))
        assert merge.encode(state).hex() == case["state"]
        assert state == merge.decode(unhex(case["state"]))


def test_the_golden_device_list_is_followed() -> None:
    held = vector("control")
    chain = [unhex(entry) for entry in held["entries"]]
    members = control.replay(chain, through=(len(chain), unhex(held["hash"])))
    assert members.vault.hex() == held["vault"]
    desk = keys.Seeds(unhex(held["desk"]["sign_seed"]), unhex(held["desk"]["kem_seed"]))
    words = keys.recovery_seeds(unhex(held["words_of"]))
    opened: dict[int, bytes] = {}
    for seeds in (desk, words):
        opened = control.epoch_keys(members, seeds)
        assert {str(n): key.hex() for n, key in opened.items()} == held["epoch_keys"]
    for who, name in held["names"].items():
        member = members.members[keys.device_id(unhex(held[who]["sign_public"]))]
        epoch_key = opened[keys.epoch_of_name(member.sealed_name)]
        assert name == keys.open_name(
            member.sealed_name, epoch_key, vault=members.vault, device=member.device
        )
    for code, entry in held["refused"].items():
        with pytest.raises(SunaivaError) as refused:
            control.extend(members, unhex(entry))
        assert refused.value.code == code


@pytest.mark.parametrize("case", vector("pairing"), ids=["by number", "by code"])
def test_the_golden_pairings_are_understood(case: Any) -> None:
    member = keys.Seeds(unhex(case["member"]["sign_seed"]), unhex(case["member"]["kem_seed"]))
    offer, challenge, reveal, _ = map(unhex, case["messages"])
    challenged = pairing.Challenged(
        seeds=member,
        secret=unhex(case["secret"]),
        is_headless=case["is_headless"],
        vault=golden.VAULT,
        offer=offer,
        message=challenge,
    )
    met = pairing.meet(challenged, reveal)
    assert (met.number, met.name) == (case["number"], case["name"])


def test_the_golden_vectors_of_texts_are_read() -> None:
    held = vector("vectors")
    raw, epoch_keys = unhex(held["list"]), {held["epoch"]: unhex(held["epoch_key"])}
    assert vectors.id_of(raw).hex() == held["id"]
    vectors.verify(raw, unhex(held["sign_public"]))
    listed = vectors.read(raw)
    summary = vectors.open_summary(listed, epoch_keys)
    assert (summary.kind.model, summary.count) == (held["model"], len(held["vectors"]))
    (segment,) = listed.segments
    found = vectors.open_segment(
        unhex(held["segment"]), listed.vault, segment, summary.kind, epoch_keys
    )
    assert [(one.memory.hex(), one.digest.hex(), one.code.hex()) for one in found] == [
        (one["memory"], one["digest"], one["code"]) for one in held["vectors"]
    ]
    assert [vectors.digest_of(one["read"]).hex() for one in held["vectors"]] == [
        one["digest"] for one in held["vectors"]
    ]


# --- the other implementation: nothing of ours below ----------------------------------------------------------


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def hkdf(key: bytes, info: bytes, length: int, salt: bytes | None = None) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def derive(key: bytes, purpose: str, length: int = 32) -> bytes:
    return hkdf(key, b"sunaiva/v1/" + purpose.encode(), length)


def small_seal(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    assert sealed[0] == 1
    return AESGCM(key).decrypt(sealed[1:13], sealed[13:], b"\x01" + bound_to)


def open_hpke(seed: bytes, sealed: bytes, info: bytes) -> bytes:
    expanded = hashlib.shake_256(seed).digest(96)
    private = MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    return suite.decrypt(sealed, private, info=info)


class Reader:
    """As much of MessagePack as the protocol uses."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, length: int) -> bytes:
        self.at += length
        return self.raw[self.at - length : self.at]

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def value(self) -> Any:
        first = self.number(1)
        if first < 0x80:
            return first
        if first >= 0xE0:
            return first - 0x100
        if 0x80 <= first < 0xA0 or first in (0xDC, 0xDD, 0xDE, 0xDF):
            count = first & 15 if first < 0xA0 else self.number(4 if first & 1 else 2)
            is_map = first < 0x90 or first >= 0xDE
            return [(self.value(), self.value()) if is_map else self.value() for _ in range(count)]
        if first < 0xC0:
            return self.take(first & 31).decode()
        if first in (0xC4, 0xC5, 0xC6):
            return self.take(self.number(1 << first - 0xC4))
        if first in (0xD9, 0xDA, 0xDB):
            return self.take(self.number(1 << first - 0xD9)).decode()
        if first in (0xCC, 0xCD, 0xCE, 0xCF):
            return self.number(1 << first - 0xCC)
        if first == 0xCB:
            return struct.unpack(">d", self.take(8))[0]
        return {0xC0: None, 0xC2: False, 0xC3: True}[first]


def msgpack(raw: bytes) -> Any:
    reader = Reader(raw)
    value = reader.value()
    assert reader.at == len(raw)
    return value


def other_open(raw: bytes, epoch_key: bytes, sign_public: bytes) -> bytes:
    header, body, signature = raw[:120], raw[120:-64], raw[-64:]
    magic, suite, flags, vault, stream, seq, _, _, _, salt, commitment, ct_len = struct.unpack(
        ">2sBB16s8sQII32s24s16sI", header
    )
    assert (magic, suite, flags, ct_len) == (b"SV", 1, 0, len(body))
    digest = sha256(b"sunaiva/batch/1", header, body)
    Ed25519PublicKey.from_public_bytes(sign_public).verify(
        signature, b"sunaiva/signature/1" + digest
    )
    info = b"sunaiva/batch/1" + vault + stream + struct.pack(">Q", seq)
    okm = hkdf(epoch_key, info, 60, salt)
    assert okm[44:] == commitment
    plaintext = AESGCM(okm[:32]).decrypt(okm[32:44], body, header)
    return other_unpack(plaintext)


def other_unpack(plaintext: bytes) -> bytes:
    length, codec = struct.unpack_from(">IB", plaintext)
    payload = plaintext[5 : 5 + length]
    assert set(plaintext[5 + length :]) <= {0}
    return zstandard.ZstdDecompressor().decompress(payload) if codec else payload


@pytest.mark.parametrize("case", [*vector("frames"), vector("compression")])
def test_another_implementation_opens_a_frame(case: Any) -> None:
    opened = other_open(unhex(case["frame"]), unhex(case["epoch_key"]), unhex(case["sign_public"]))
    assert opened == unhex(case["content"])


def test_another_implementation_reads_a_frame_to_the_last_field() -> None:
    case = vector("frames")[0]
    version, base, heads, digest, operations = msgpack(unhex(case["content"]))
    assert (version, digest, len(heads)) == (1, sha256(b"digest"), 1)
    ((kind, memory, delta, payload),) = operations
    assert (kind, memory, base + delta) == (1, golden.MEMORY, golden.HLC + 2)
    assert payload == [("travel", 1), ("été", 2)]
    texts = [msgpack(unhex(case["bytes"])) for case in vector("operations")["operations"]]
    assert texts[0][3][0][0] == (1, "Ana moved to Lisbon in May.")
    assert texts[1][3] == [[(1, "Ana moved to Porto.")], [(1, [[golden.HLC, golden.A]])]]


def test_another_implementation_follows_the_device_list_and_opens_the_keys() -> None:
    held = vector("control")
    chain = [unhex(entry) for entry in held["entries"]]
    prev, vault, publics, keys_seen, previous = bytes(32), None, {}, {}, {}
    for number, entry in enumerate(chain, 1):
        said, signature = entry[:-64], entry[-64:]
        version, seq, prev_hash, of_vault, kind, body, signer_kind, signer = msgpack(said)
        assert (version, seq, prev_hash, of_vault) == (1, number, prev, vault)
        if kind == 0:
            publics[sha256(body[1])[:16]] = body[1]
        public = publics[signer]
        assert signer_kind == (0 if number <= 2 else 1)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, b"sunaiva/control/1" + said)
        prev = sha256(b"sunaiva/control/1", entry)
        vault = vault or prev[:16]
        if kind == 1:
            sign, kem, incarnation, _, proof, _ = body
            publics[sha256(sign)[:16]] = sign
            message = b"sunaiva/device/1" + vault + sign + kem + struct.pack(">I", incarnation)
            Ed25519PublicKey.from_public_bytes(sign).verify(proof, message)
        if kind == 3:
            epoch, check, wraps, _, sealed_previous = body
            mine = dict(map(tuple, wraps))[sha256(unhex(held["desk"]["sign_public"]))[:16]]
            info = b"sunaiva/epoch/1" + vault + struct.pack(">I", epoch)
            keys_seen[epoch] = open_hpke(unhex(held["desk"]["kem_seed"]), mine, info)
            assert derive(keys_seen[epoch], "epoch-check", 16) == check
            previous[epoch] = sealed_previous
    assert (vault, prev) == (unhex(held["vault"]), unhex(held["hash"]))
    assert {str(n): key.hex() for n, key in keys_seen.items()} == held["epoch_keys"]
    bound_to = b"sunaiva/previous/1" + (vault or b"") + struct.pack(">I", 2)
    assert small_seal(derive(keys_seen[2], "previous"), previous[2], bound_to) == keys_seen[1]


def test_another_implementation_demands_the_same_suites() -> None:
    held, floor = vector("floors"), 0
    for seq, entry in enumerate(map(unhex, held["entries"]), 1):
        _, _, _, _, kind, body, _, _ = msgpack(entry[:-64])
        floor = body[3] if kind == 0 else body[0]
        assert held["demanded"][str(seq)] == floor


def test_another_implementation_derives_the_same_keys() -> None:
    held = vector("keys")
    recovery, device = held["recovery"], held["device"]
    assert derive(unhex(recovery["entropy"]), "recovery-sign").hex() == recovery["sign_seed"]
    assert derive(unhex(recovery["entropy"]), "recovery-kem").hex() == recovery["kem_seed"]
    public = unhex(device["sign_public"])
    assert sha256(public)[:16].hex() == device["device"]
    assert device["streams"] == [
        sha256(b"sunaiva/stream/1", public, struct.pack(">I", n))[:8].hex() for n in (1, 2, 3)
    ]


@pytest.mark.parametrize("case", vector("pairing"), ids=["by number", "by code"])
def test_another_implementation_pairs(case: Any) -> None:
    offer, challenge, reveal, welcome = map(unhex, case["messages"])
    said, _ = msgpack(reveal)[2:]
    sign, kem, incarnation, _, nonce, _ = said
    promised = sha256(b"sunaiva/commitment/1", sign, kem, struct.pack(">I", incarnation), nonce)
    assert promised == msgpack(offer)[3] == unhex(case["commitment"])
    body = reveal[3 : len(reveal) - 34]  # after [1, 2 and before the tag of 32 bytes
    transcript = hashlib.sha256(b"sunaiva/pairing/1")
    for message in (offer, challenge, body):
        transcript.update(struct.pack(">I", len(message)) + message)
    told = transcript.digest()
    assert told.hex() == case["transcript"]
    assert f"{int.from_bytes(told[:8], 'big') % 1_000_000:06d}" == case["number"]
    sealed, signature = msgpack(welcome)[2:]
    bound_to = b"sunaiva/welcome/1" + told
    Ed25519PublicKey.from_public_bytes(unhex(case["member"]["sign_public"])).verify(
        signature, bound_to + sealed
    )
    inner = open_hpke(unhex(case["newcomer"]["kem_seed"]), sealed, bound_to)
    secret = unhex(case["secret"]) if case["is_headless"] else bytes(16)
    opened = small_seal(derive(secret + told, "pairing-welcome"), inner, bound_to)
    assert opened == unhex(case["welcome"])


def test_another_implementation_takes_vectors_over() -> None:
    held = vector("vectors")
    raw, vault = unhex(held["list"]), unhex(held["vault"])
    Ed25519PublicKey.from_public_bytes(unhex(held["sign_public"])).verify(
        raw[-64:], b"sunaiva/vector-list/1" + raw[:-64]
    )
    assert sha256(b"sunaiva/vector-list/1", raw)[:16].hex() == held["id"]
    mark, of_vault, _, ((name, size, digest),), sealed = msgpack(raw[:-64])
    assert (mark, of_vault) == ("vectors/1", vault)
    key, epoch = unhex(held["epoch_key"]), struct.pack(">I", held["epoch"])

    def opened(whole: bytes, purpose: str, bound_to: bytes) -> Any:
        assert whole[:4] == epoch
        return msgpack(other_unpack(small_seal(derive(key, purpose), whole[4:], bound_to)))

    kind, count, snapshot = opened(
        sealed, "vector-lists", b"sunaiva/vector-summary/1" + vault + epoch
    )
    assert (kind, count, snapshot) == ([held["model"], 1, 8], 2, b"m" * 16)
    segment = unhex(held["segment"])
    assert (size, digest) == (len(segment), sha256(segment))
    bound_to = b"sunaiva/vectors/1" + vault + epoch + name.encode()
    version, of_kind, memories, digests, coded = opened(segment, "vectors", bound_to)
    assert (version, of_kind) == (1, kind)
    for number, one in enumerate(held["vectors"]):
        at = slice(16 * number, 16 * number + 16)
        assert (memories[at].hex(), digests[at].hex()) == (one["memory"], one["digest"])
        assert sha256(b"sunaiva/embedded/1", one["read"].encode())[:16] == digests[at]
        assert coded[8 * number : 8 * number + 8].hex() == one["code"]
