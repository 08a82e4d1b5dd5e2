"""Makes the golden vectors of docs/protocol.md: `python -m tests.sync.golden` writes those that are missing.

What an encoder chooses at random (HPKE, the nonces of small seals) or as it likes (zstd) cannot be made a second time: such files are
written once, and tests read them. Nothing here may be changed without a new version of the protocol.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from shared import crypto
from sync_service.changes import merge, ops
from sync_service.changes.fields import Field
from sync_service.changes.merge import EMPTY, State
from sync_service.changes.ops import Foreign, Forget, Head, Link, Op, Set, Tag
from sync_service.members import amend, codes, control, entries, pairing
from sync_service.members.control import Members
from sync_service.members.entries import MEMBER_SIGNER, RECOVERY_SIGNER, Signer
from sync_service.members.pairing import Welcome
from sync_service.sealed import frames, keys, vectors
from sync_service.sealed.frames import NO_HASH
from sync_service.sealed.keys import Seeds
from sync_service.sealed.pieces import Segment

VECTORS = Path(__file__).parent / "vectors"
encode = msgspec.msgpack.encode

VAULT = bytes(range(16))
EPOCH_KEY = bytes(range(100, 132))
MEMORY = bytes.fromhex("0199f2f49c1e7a108f7e3f3b2a9c1d20")
OTHER = bytes.fromhex("0199f2f49c1e7a118f7e3f3b2a9c1d21")
ENTROPY = bytes(range(16))
DESK = Seeds(bytes(range(32)), bytes(range(32, 64)))
PHONE = Seeds(bytes(range(64, 96)), bytes(range(96, 128)))
A, B, C = (keys.stream_id(keys.sign_public(DESK), n) for n in (1, 2, 3))
HLC = 1_795_000_000_000 << 16

OPS: dict[str, Op] = {
    "a new memory": Set(
        MEMORY,
        HLC,
        {
            Field.TEXT: encode("Ana moved to Lisbon in May."),
            Field.KIND: encode("fact"),
            Field.SPACE: encode("default"),
            Field.TRUST: encode("person"),
            Field.IMPORTANCE: encode(0.5),
            Field.CREATED: encode(1_795_000_000_000),
        },
    ),
    "a text that replaces another": Set(
        MEMORY, HLC + 70, {Field.TEXT: encode("Ana moved to Porto.")}, {Field.TEXT: ((HLC, A),)}
    ),
    "an unknown field": Set(MEMORY, HLC + 1, {200: encode([1, None])}),
    "more than fifteen fields": Set(MEMORY, HLC, {n: encode(n) for n in range(1, 18)}),
    "tags": Tag(MEMORY, HLC + 2, {"travel": 1, "été": 2}),
    "links": Link(MEMORY, HLC + 3, {("source", OTHER): 1}),
    "forget": Forget(OTHER, HLC + 4),
    "an optional kind of a later version": Foreign(MEMORY, HLC + 5, 64, encode({"a": 1})),
}


def of_frames() -> list[dict[str, Any]]:
    # Hashes cannot be compressed, so these stand as they are.
    head = Head(A, 1, hashlib.sha256(b"head").digest())
    digest = hashlib.sha256(b"digest").digest()
    short = ops.encode_content([OPS["tags"]], heads=[head], digest=digest)
    cases = []
    prev_hash = NO_HASH
    for seq, content in enumerate((short, ops.encode_content([]), b""), 1):
        frame = frames.seal(
            content,
            vault=VAULT,
            stream=A,
            seq=seq,
            epoch=1,
            control_seq=3,
            prev_hash=prev_hash,
            epoch_key=EPOCH_KEY,
            sign_seed=DESK.sign,
            salt=bytes(range(seq, seq + 24)),
        )
        okm = crypto.derive_once(
            EPOCH_KEY,
            salt=frame.header.salt,
            context=b"sunaiva/batch/1" + VAULT + A + seq.to_bytes(8, "big"),
            length=60,
        )
        cases.append(
            {
                "epoch_key": EPOCH_KEY,
                "sign_public": keys.sign_public(DESK),
                "seq": seq,
                "key": okm[:32],
                "nonce": okm[32:44],
                "content": content,
                "frame": frame.raw,
                "hash": frame.hash,
            }
        )
        prev_hash = frame.hash
    return cases


def of_ops() -> dict[str, Any]:
    batch = list(OPS.values())
    return {
        "operations": [{"name": name, "bytes": ops.encode_op(op)} for name, op in OPS.items()],
        "content": ops.encode_content(batch, heads=[Head(A, 7, b"h" * 32)], digest=b"d" * 32),
        "padded": [
            [length, frames.padded_length(length)]
            for length in (0, 1, 2, 9, 64, 65, 129, 1_000, 65_537, 1_234_567)
        ],
    }


def _text(value: str, hlc: int, *replaced: tuple[int, bytes]) -> Set:
    replaces = {int(Field.TEXT): replaced} if replaced else {}
    return Set(MEMORY, hlc, {Field.TEXT: encode(value)}, replaces)


HISTORIES: dict[str, list[tuple[Op, bytes]]] = {
    "one memory": [(OPS["a new memory"], A)],
    "the later clock wins": [
        (Set(MEMORY, 5, {Field.PINNED: encode(True)}), B),
        (Set(MEMORY, 6, {Field.PINNED: encode(False)}), A),
    ],
    "equal clocks: the greater stream wins": [
        (Set(MEMORY, 5, {Field.PINNED: encode(n)}), stream)
        for n, stream in ((1, A), (2, B), (3, C))
    ],
    "a text that was replaced": [(_text("a", 5), A), (_text("b", 6, (5, A)), B)],
    "a replaced text that comes late": [(_text("b", 6, (5, A)), B), (_text("a", 5), A)],
    "two concurrent texts": [
        (_text("a", 5), A),
        (_text("b", 6, (5, A)), B),
        (_text("c", 7, (5, A)), C),
    ],
    "two concurrent texts, decided": [
        (_text("b", 6), B),
        (_text("c", 7), C),
        (_text("c", 8, (6, B), (7, C)), A),
    ],
    "tags turned": [(Tag(MEMORY, 5, {"x": 1, "y": 1}), A), (Tag(MEMORY, 4, {"x": 2}), B)],
    "links turned": [
        (Link(MEMORY, 5, {("source", OTHER): 1, ("about", OTHER): 1}), A),
        (Link(MEMORY, 4, {("source", OTHER): 2}), B),
    ],
    "what only a later version knows": [
        (OPS["an unknown field"], A),
        (OPS["an optional kind of a later version"], B),
    ],
    "forgotten": [(Forget(MEMORY, 1), A), (OPS["a new memory"], B)],
}


def merged(history: list[tuple[Op, bytes]]) -> State:
    state = EMPTY
    for op, stream in history:
        state = merge.apply(state, op, stream)
    return state


def of_merging() -> list[dict[str, Any]]:
    cases = []
    for name, history in HISTORIES.items():
        state = merged(history)
        cases.append(
            {
                "name": name,
                "memory": MEMORY,
                "operations": [[stream, ops.encode_op(op)] for op, stream in history],
                "clocks": merge.clocks(state),
                "state": merge.encode(state),
                "fingerprint": merge.fingerprint(MEMORY, state).to_bytes(32, "big"),
                "conflicts": [[field, *version] for field, version in merge.conflicts(state)],
            }
        )
    return cases


def of_keys() -> dict[str, Any]:
    recovery = keys.recovery_seeds(ENTROPY)
    return {
        "recovery": {"entropy": ENTROPY, **_both(recovery)},
        "device": {
            **_both(DESK),
            "device": keys.device_id(keys.sign_public(DESK)),
            "streams": [keys.stream_id(keys.sign_public(DESK), n) for n in (1, 2, 3)],
        },
        "epoch_check": {"epoch_key": EPOCH_KEY, "check": keys.check_of(EPOCH_KEY)},
        "first_entry": {
            "entry": amend.found(recovery, nonce=bytes(16)),
            "vault": control.begin(amend.found(recovery, nonce=bytes(16))).vault,
        },
        "codes": {
            "secret": ENTROPY,
            "code": codes.code_of(ENTROPY),
            "commitment": bytes(range(32)),
            "scanned": codes.qr_text(ENTROPY, bytes(range(32))),
            "mailboxes": [codes.mailbox_of(ENTROPY, attempt=n) for n in range(3)],
        },
    }


def _both(seeds: Seeds) -> dict[str, bytes]:
    return {
        "sign_seed": seeds.sign,
        "kem_seed": seeds.kem,
        "sign_public": keys.sign_public(seeds),
        "kem_public": keys.kem_public(seeds),
    }


def of_floors() -> dict[str, Any]:
    """A list that demands more and more, and what it demands of a batch by the entry that its header names."""
    by = Signer(RECOVERY_SIGNER, keys.recovery_seeds(ENTROPY))
    chain = [amend.found(by.seeds, nonce=bytes(range(16)))]
    members = control.begin(chain[0])
    for suite_floor, min_reader in ((1, 2), (2, 2), (2, 3), (4, 3)):
        chain.append(amend.policy(members, by, suite_floor=suite_floor, min_reader=min_reader))
        members = control.extend(members, chain[-1])
    demanded = {str(seq): control.floor_at(members, seq) for seq in range(1, members.seq + 1)}
    return {"entries": chain, "demanded": demanded}


DETERMINISTIC = {
    "frames": of_frames,
    "operations": of_ops,
    "merging": of_merging,
    "keys": of_keys,
    "floors": of_floors,
}


# --- what cannot be made twice -------------------------------------------------------------------------------


def of_compression() -> dict[str, Any]:
    content = ops.encode_content([op for op in OPS.values() for _ in range(20)])
    frame = frames.seal(
        content,
        vault=VAULT,
        stream=A,
        seq=1,
        epoch=1,
        control_seq=3,
        prev_hash=NO_HASH,
        epoch_key=EPOCH_KEY,
        sign_seed=DESK.sign,
        salt=bytes(24),
    )
    return {
        "epoch_key": EPOCH_KEY,
        "sign_public": keys.sign_public(DESK),
        "content": content,
        "frame": frame.raw,
    }


def of_control() -> dict[str, Any]:
    """Both devices join, the phone takes a new stream and gets a name, is removed, the key changes, and so do the words."""
    words, new_words = keys.recovery_seeds(ENTROPY), keys.recovery_seeds(bytes(16))
    desk = Signer(MEMBER_SIGNER, DESK)
    chain = [amend.found(words, nonce=bytes(range(16)))]
    members = control.begin(chain[0])

    def append(entry: bytes) -> None:
        nonlocal members
        members = control.extend(members, entry)
        chain.append(entry)

    def name_of(name: str, seeds: Seeds, epoch: int) -> bytes:
        return keys.seal_name(
            name,
            epoch_keys[epoch],
            vault=members.vault,
            epoch=epoch,
            device=keys.device_id(keys.sign_public(seeds)),
        )

    epoch_keys = {1: EPOCH_KEY, 2: bytes(range(50, 82))}
    device = entries.introduce(DESK, vault=members.vault)
    append(
        amend.add(
            members,
            Signer(RECOVERY_SIGNER, words),
            device,
            sealed_name=name_of("Desk", DESK, 1),
            epoch_key=None,
        )
    )
    append(amend.rotate(members, desk, epoch_key=epoch_keys[1], previous_key=None))
    device = entries.introduce(PHONE, vault=members.vault)
    append(
        amend.add(
            members, desk, device, sealed_name=name_of("Phone", PHONE, 1), epoch_key=epoch_keys[1]
        )
    )
    append(amend.new_stream(members, PHONE, incarnation=2))
    phone = keys.device_id(keys.sign_public(PHONE))
    append(amend.rename(members, desk, phone, name_of("Old phone", PHONE, 1)))
    first, second = members.members[phone].streams
    append(amend.revoke(members, desk, phone, {first: (9, b"h" * 32), second: (0, NO_HASH)}))
    append(amend.rotate(members, desk, epoch_key=epoch_keys[2], previous_key=epoch_keys[1]))
    append(amend.recovery(members, desk, new_words, epoch_key=epoch_keys[2]))
    append(amend.policy(members, desk, suite_floor=1, min_reader=1))
    return {
        "vault": members.vault,
        "entries": chain,
        "hash": members.hash,
        "epoch_keys": {str(epoch): key for epoch, key in epoch_keys.items()},
        "desk": _both(DESK),
        "phone": _both(PHONE),
        "words_of": bytes(16),
        "names": {"desk": "Desk", "phone": "Old phone"},
        "refused": refused(members),
    }


def refused(members: Members) -> dict[str, bytes]:
    """Entries that may not follow, by the code of the refusal."""
    desk, phone = Signer(MEMBER_SIGNER, DESK), keys.device_id(keys.sign_public(PHONE))
    stranger = Signer(MEMBER_SIGNER, Seeds(b"x" * 32, b"y" * 32))

    def next_entry(kind: int, vault: bytes) -> bytes:
        return entries.sign(members.seq + 1, members.hash, vault, kind, None, by=desk)

    return {
        "forged_device_list": amend.rename(members, stranger, phone, b""),
        "revoked_device": amend.rename(members, Signer(MEMBER_SIGNER, PHONE), phone, b""),
        "downgrade": amend.policy(members, desk, suite_floor=0, min_reader=1),
        "newer": next_entry(8, members.vault),
        "malformed": next_entry(128, members.vault),
        "wrong_vault": next_entry(64, bytes(16)),
    }


def of_pairing() -> list[dict[str, Any]]:
    told = Welcome(
        vault=VAULT,
        control_seq=4,
        control_hash=b"h" * 32,
        epoch=1,
        epoch_key=EPOCH_KEY,
        heads=(Head(A, 7, b"b" * 32),),
        digest=b"d" * 32,
    )
    cases = []
    for is_headless in (False, True):
        new = pairing.offer(PHONE, secret=ENTROPY, nonce=b"n" * 32, is_headless=is_headless)
        old = pairing.challenge(
            DESK,
            new.message,
            vault=VAULT,
            nonce=b"N" * 32,
            secret=ENTROPY,
            is_headless=is_headless,
        )
        shown = pairing.reveal(new, old.message, name="Phone")
        met = pairing.meet(old, shown.message)
        answer = pairing.welcome(met, told, is_same_number=True)
        cases.append(
            {
                "is_headless": is_headless,
                "secret": ENTROPY,
                "member": _both(DESK),
                "newcomer": _both(PHONE),
                "newcomer_nonce": new.nonce,
                "name": "Phone",
                "commitment": new.commitment,
                "messages": [new.message, old.message, shown.message, answer],
                "transcript": shown.transcript,
                "number": shown.number,
                "welcome": encode(told),
            }
        )
    return cases


def of_vectors() -> Any:
    texts = {memory: f"Ana: text {number}" for number, memory in enumerate((OTHER, MEMORY))}
    kind = vectors.Kind("a model/int8/0123", vectors.FOUR_BITS, 8)
    there = [
        vectors.Vector(memory, vectors.digest_of(text), bytes(range(number, number + 8)))
        for number, (memory, text) in enumerate(texts.items())
    ]
    name = "5e" * 16
    segment = vectors.seal_segment(EPOCH_KEY, VAULT, 3, name, kind, there)
    summary = vectors.Summary(kind, len(there), b"m" * 16)
    made = vectors.VectorList(
        vault=VAULT,
        device=keys.device_id(keys.sign_public(DESK)),
        segments=(Segment(name, len(segment), hashlib.sha256(segment).digest()),),
        sealed=vectors.seal_summary(EPOCH_KEY, VAULT, 3, summary),
    )
    raw = vectors.write(made, DESK.sign)
    return {
        "sign_public": keys.sign_public(DESK),
        "vault": VAULT,
        "epoch": 3,
        "epoch_key": EPOCH_KEY,
        "list": raw,
        "id": vectors.id_of(raw),
        "segment": segment,
        "model": kind.model,
        "vectors": [
            {
                "memory": one.memory,
                "read": texts[one.memory],
                "digest": one.digest,
                "code": one.code,
            }
            for one in there
        ],
    }


ONCE = {
    "compression": of_compression,
    "control": of_control,
    "pairing": of_pairing,
    "vectors": of_vectors,
}


def in_hex(made: Any) -> Any:
    match made:
        case bytes():
            return made.hex()
        case dict():
            return {name: in_hex(part) for name, part in made.items()}
        case list() | tuple():
            return [in_hex(part) for part in made]
        case _:
            return made


def path_of(name: str) -> Path:
    return VECTORS / f"{name}.json"


def main() -> None:
    VECTORS.mkdir(exist_ok=True)
    for name, make in {**DETERMINISTIC, **ONCE}.items():
        if not path_of(name).exists():
            text = json.dumps(in_hex(make()), ensure_ascii=False, indent=1)
            path_of(name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
