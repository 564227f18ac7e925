"""A device that makes and uses passkeys, and the browser before it: what they send is what a real one would, or not quite."""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
"""Flags of authenticator data (WebAuthn section 6.1)."""

Response = dict[str, str | None]


def encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Device:
    """One passkey on one device."""

    origin: str
    rp_id: str = "localhost"
    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))
    credential: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    user: bytes = b""
    uses: int = 0
    flags: int = PRESENT | VERIFIED

    def make(self, options: dict[str, Any]) -> str:
        """`navigator.credentials.create()`, as JSON."""
        self.user = decoded(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + cbor2.dumps(cose)
        attestation = {"fmt": "none", "attStmt": {}, "authData": self._data(ATTESTED) + attested}
        return self._sent(
            clientDataJSON=self._client_data("webauthn.create", options), attestationObject=cbor2.dumps(attestation)
        )

    def use(self, options: dict[str, Any], response: Response | None = None, counts: bool = True) -> str:
        """`navigator.credentials.get()`, as JSON. `response`: what is not as it should be."""
        self.uses += counts
        client, data = self._client_data("webauthn.get", options), self._data(0)
        signature = self.key.sign(data + sha256(client).digest(), ECDSA(SHA256()))
        return self._sent(response, clientDataJSON=client, authenticatorData=data, signature=signature, userHandle=self.user)

    def _data(self, more: int) -> bytes:
        return sha256(self.rp_id.encode()).digest() + bytes([self.flags | more]) + self.uses.to_bytes(4, "big")

    def _client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said).encode()

    def _sent(self, other: Response | None = None, **response: bytes) -> str:
        name = encoded(self.credential)
        values = {key: encoded(value) for key, value in response.items()} | (other or {})
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": values, "clientExtensionResults": {}})
