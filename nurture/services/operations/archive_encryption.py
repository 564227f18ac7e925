"""A file encrypted with a passphrase, written and read as a stream.

Key: scrypt (RFC 7914), its parameters in the header. Content: AES-256-GCM in chunks, with nonces and a mark of the last chunk
as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, 2015):
no chunk can be left out, moved or cut off. The whole header is authenticated with every chunk.

    magic (16) | log2 n, r, p (1 each) | salt (16) | nonce prefix (7) | chunk size (4, big endian) | HMAC-SHA256 of these (32)
    then chunks of chunk size + 16 bytes, the last one of that size or shorter
"""

import hmac
import io
import os
import struct
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from nurture.errors import NurtureError

MAGIC = b"nurture-backup-e"
_HEADER = struct.Struct(">16sBBB16s7sI")
_LOG2_N, _R, _P = 17, 8, 1
"""128 MB of memory and about half a second for each try of a passphrase."""
_LEAST_LOG2_N, _MOST_LOG2_N = 14, 18
_CHUNK_BYTES = 1 << 18
_MOST_CHUNK_BYTES = 1 << 24
_TAG_BYTES, _MAC_BYTES = 16, 32


class DecryptionRefused(NurtureError):
    """The passphrase is another one, or the file is damaged. The message says which, as far as that can be known."""


def _keys(passphrase: str, salt: bytes, log2_n: int, r: int, p: int) -> tuple[AESGCM, bytes]:
    """The key of the chunks and that of the header."""
    both = Scrypt(salt=salt, length=64, n=1 << log2_n, r=r, p=p).derive(passphrase.encode())
    return AESGCM(both[:32]), both[32:]


def _nonce(prefix: bytes, number: int, is_last: bool) -> bytes:
    return prefix + struct.pack(">IB", number, is_last)


class EncryptingWriter:
    """Encrypts what is written to it. Only after `finish` is it whole; the file under it stays open."""

    def __init__(self, out: BinaryIO, passphrase: str, log2_n: int = _LOG2_N, chunk_bytes: int = _CHUNK_BYTES) -> None:
        """Write the header."""
        salt, self._prefix = os.urandom(16), os.urandom(7)
        header = _HEADER.pack(MAGIC, log2_n, _R, _P, salt, self._prefix, chunk_bytes)
        self._cipher, mac_key = _keys(passphrase, salt, log2_n, _R, _P)
        self._header = header + hmac.digest(mac_key, header, "sha256")
        self._out, self._chunk_bytes = out, chunk_bytes
        self._pending, self._number = bytearray(), 0
        out.write(self._header)

    def write(self, data: bytes) -> int:
        """Encrypt every chunk that is known not to be the last."""
        self._pending += data
        while len(self._pending) > self._chunk_bytes:
            self._put(bytes(self._pending[: self._chunk_bytes]), is_last=False)
            del self._pending[: self._chunk_bytes]
        return len(data)

    def flush(self) -> None:
        """Nothing: a chunk is written when it is full."""

    def finish(self) -> None:
        """Write the last chunk."""
        self._put(bytes(self._pending), is_last=True)

    def _put(self, chunk: bytes, is_last: bool) -> None:
        self._out.write(self._cipher.encrypt(_nonce(self._prefix, self._number, is_last), chunk, self._header))
        self._number += 1


class DecryptingReader(io.RawIOBase):
    """Reads what an EncryptingWriter wrote. Nothing is returned that was not authenticated. Raises DecryptionRefused."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        """Read the header. Raises DecryptionRefused."""
        super().__init__()
        header = source.read(_HEADER.size)
        mac = source.read(_MAC_BYTES)
        if len(mac) < _MAC_BYTES or not header.startswith(MAGIC):
            raise DecryptionRefused("This is no encrypted backup, or only the beginning of one.")
        _, log2_n, r, p, salt, self._prefix, self._chunk_bytes = _HEADER.unpack(header)
        is_ours = (r, p) == (_R, _P) and _LEAST_LOG2_N <= log2_n <= _MOST_LOG2_N
        if not is_ours or not 0 < self._chunk_bytes <= _MOST_CHUNK_BYTES:
            raise DecryptionRefused("The beginning of this backup is damaged, or a newer version made it.")
        self._cipher, mac_key = _keys(passphrase, salt, log2_n, r, p)
        if not hmac.compare_digest(hmac.digest(mac_key, header, "sha256"), mac):
            raise DecryptionRefused("The passphrase does not open this backup, or its beginning is damaged.")
        self._header, self._source = header + mac, source
        self._plain, self._number, self._is_over = memoryview(b""), 0, False
        self._ahead = source.read(self._chunk_bytes + _TAG_BYTES)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer; 0 at the end."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._plain and not self._is_over:
            self._next_chunk()
        count = min(len(target), len(self._plain))
        target[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def _next_chunk(self) -> None:
        chunk, self._ahead = self._ahead, self._source.read(self._chunk_bytes + _TAG_BYTES)
        self._is_over = not self._ahead
        nonce = _nonce(self._prefix, self._number, self._is_over)
        try:
            self._plain = memoryview(self._cipher.decrypt(nonce, chunk, self._header))
        except (InvalidTag, ValueError):
            raise DecryptionRefused("This backup is damaged or cut off.") from None
        self._number += 1
