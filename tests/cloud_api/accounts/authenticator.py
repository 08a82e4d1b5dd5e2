"""A passkey in software: an ES256 key that signs what a browser would hand it (WebAuthn Level 3 §6, §7)."""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import encode_cbor

ORIGIN = "http://127.0.0.1:8400"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Authenticator:
    def __init__(self, credential_id: bytes = b"credential-of-ada") -> None:
        self.credential_id = credential_id
        self.count = 0
        self.origin = ORIGIN
        self.flags = PRESENT | VERIFIED
        self._key = generate_private_key(SECP256R1())
        self._handle = b""
        self._rp_id = ""

    def register(self, options: dict[str, Any]) -> dict[str, Any]:
        self._rp_id = options["rp"]["id"]
        self._handle = urlsafe_b64decode(options["user"]["id"] + "==")
        numbers = self._key.public_key().public_numbers()
        cose = encode_cbor(
            {
                1: 2,
                3: -7,
                -1: 1,
                -2: numbers.x.to_bytes(32, "big"),
                -3: numbers.y.to_bytes(32, "big"),
            }
        )
        credential = (
            bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cose
        )
        attestation = {
            "fmt": "none",
            "attStmt": {},
            "authData": self._data(self.flags | ATTESTED) + credential,
        }
        return self._answer(
            {
                "clientDataJSON": b64(self._client("webauthn.create", options["challenge"])),
                "attestationObject": b64(encode_cbor(attestation)),
            }
        )

    def sign(self, options: dict[str, Any]) -> dict[str, Any]:
        self.count += 1
        data = self._data(self.flags)
        client = self._client("webauthn.get", options["challenge"])
        signed = data + hashlib.sha256(client).digest()
        return self._answer(
            {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(data),
                "signature": b64(self._key.sign(signed, ECDSA(SHA256()))),
                "userHandle": b64(self._handle),
            }
        )

    def _data(self, flags: int) -> bytes:
        site = hashlib.sha256(self._rp_id.encode()).digest()
        return site + bytes([flags]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _answer(self, response: dict[str, str]) -> dict[str, Any]:
        named = b64(self.credential_id)
        return {"id": named, "rawId": named, "type": "public-key", "response": response}
