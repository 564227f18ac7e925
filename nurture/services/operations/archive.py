"""The file of a backup: a gzipped tar of table rows, with a manifest at its end; encrypted on request.

`tables/<table>/<number>.copy` are rows (store.core.table_copy), `keys.json` is there on request, `manifest.json` comes last:
it names every member with its SHA-256, so that a file that is cut off or changed is refused as a whole.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from nurture.errors import NurtureError
from nurture.services.operations import archive_encryption
from nurture.services.operations.archive_encryption import DecryptingReader, DecryptionRefused, EncryptingWriter
from nurture.store.core.table_copy import ColumnKind, RowBlock, TableShape

FORMAT = 1
_MANIFEST, _KEYS, _TABLES = "manifest.json", "keys.json", "tables/"
_MOST_MEMBER_BYTES = 1 << 28
_MEMBER_MODE = 0o600


class ArchiveRefused(NurtureError):
    """A file that is no backup, is damaged, or cannot be read by this version. The message says what to do."""


@dataclass(frozen=True)
class Manifest:
    """What a backup says about itself. It holds nothing personal."""

    created: datetime
    """The instant (real time, UTC) whose state the rows show."""
    version: str
    """Of the service that made it."""
    revision: str
    """Of the schema its rows are of."""
    database: str
    """sqlite or postgresql."""
    fields_fingerprint: str
    """Of the key by which addresses are found (encryption.FieldCipher.fingerprint)."""
    newest_key: str
    """The id of the key that encrypted personal values last (encryption.FieldCipher.newest_key_id)."""
    links_fingerprint: str
    """Of the secret that signs the links in letters."""
    has_keys: bool
    tables: tuple[TableShape, ...]
    rows: dict[str, int]
    """By table."""
    members: dict[str, str]
    """SHA-256 of every other member, in hexadecimal, by its name."""

    @property
    def total(self) -> int:
        """Rows of all tables."""
        return sum(self.rows.values())

    def to_json(self) -> bytes:
        """As it is in the archive."""
        return json.dumps(
            {
                "format": FORMAT,
                "created": self.created.isoformat(),
                "version": self.version,
                "revision": self.revision,
                "database": self.database,
                "keys": {
                    "fields": self.fields_fingerprint,
                    "newest": self.newest_key,
                    "links": self.links_fingerprint,
                    "included": self.has_keys,
                },
                "tables": {
                    shape.name: {"columns": [list(column) for column in shape.columns], "rows": self.rows[shape.name]}
                    for shape in self.tables
                },
                "members": self.members,
            },
            indent=1,
        ).encode()


def _parse_manifest(data: bytes) -> Manifest:
    try:
        found: dict[str, Any] = json.loads(data)
        if found["format"] != FORMAT:
            raise ArchiveRefused(
                f"This backup is of format {found['format']}, and this version knows format {FORMAT}. Use the version that "
                f"made it ({found.get('version')}), or a newer one."
            )
        shapes = [
            TableShape(name, tuple((column, ColumnKind(kind)) for column, kind in table["columns"]))
            for name, table in found["tables"].items()
        ]
        keys = found["keys"]
        return Manifest(
            datetime.fromisoformat(found["created"]),
            found["version"],
            found["revision"],
            found["database"],
            keys["fields"],
            keys["newest"],
            keys["links"],
            keys["included"],
            tuple(shapes),
            {name: table["rows"] for name, table in found["tables"].items()},
            found["members"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ArchiveRefused("The manifest of this backup is damaged, or a newer version made it.") from None


@dataclass(frozen=True)
class Keys:
    """The secrets of an installation, as its settings give them."""

    secret_key: str
    field_keys: str | None


class ArchiveWriter:
    """Writes one archive from front to back."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        """`tar`: opened for writing as a stream."""
        self._tar, self._members, self._numbers = tar, dict[str, str](), Counter[str]()
        self.rows: Counter[str] = Counter()

    def add_block(self, table: str, block: RowBlock) -> None:
        """Add some rows of a table."""
        self._numbers[table] += 1
        self._add(f"{_TABLES}{table}/{self._numbers[table]:06d}.copy", block.data)
        self.rows[table] += block.rows

    def add_keys(self, keys: Keys) -> None:
        """Add the installation's secrets; the archive must be an encrypted one."""
        self._add(_KEYS, json.dumps({"secret_key": keys.secret_key, "field_keys": keys.field_keys}).encode())

    @property
    def members(self) -> dict[str, str]:
        """SHA-256 by name of what was added."""
        return dict(self._members)

    def add_manifest(self, manifest: Manifest) -> None:
        """The last member."""
        self._add(_MANIFEST, manifest.to_json())

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), _MEMBER_MODE
        self._tar.addfile(member, io.BytesIO(data))
        self._members[name] = hashlib.sha256(data).hexdigest()


@contextmanager
def write_archive(path: Path, passphrase: str | None) -> Iterator[ArchiveWriter]:
    """A new archive at `path` with mode 0600: under another name until the block has ended well, then fsynced and renamed. What
    was at `path` is replaced. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            cipher = EncryptingWriter(out, passphrase) if passphrase is not None else None
            under = cast(BinaryIO, cipher or out)
            with (
                gzip.GzipFile("", "wb", compresslevel=1, fileobj=under, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
            ):
                yield ArchiveWriter(tar)
            if cipher is not None:
                cipher.finish()
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_encrypted(path: Path) -> bool:
    """Whether a passphrase is needed to read it. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(archive_encryption.MAGIC)) == archive_encryption.MAGIC


class Archive:
    """An archive that is read. Each reading begins at its front."""

    def __init__(self, path: Path, passphrase: str | None = None) -> None:
        """`passphrase`: needed for an encrypted one."""
        self._path, self._passphrase = path, passphrase

    def verify(self) -> tuple[Manifest, Keys | None]:
        """Read all of it, and compare every checksum. Raises ArchiveRefused, DecryptionRefused and OSError."""
        found: dict[str, str] = {}
        manifest: bytes | None = None
        keys: Keys | None = None
        rows = Counter[str]()
        for name, data in self._read():
            if manifest is not None or name in found:
                raise ArchiveRefused("This backup is damaged: it has parts that do not belong there.")
            if name == _MANIFEST:
                manifest = data
                continue
            found[name] = hashlib.sha256(data).hexdigest()
            if name == _KEYS:
                keys = _parse_keys(data)
            else:
                rows[_table_of(name)] += data.count(b"\n")
        if manifest is None:
            raise ArchiveRefused("This backup is cut off, or it is none at all: its manifest is missing.")
        parsed = _parse_manifest(manifest)
        if parsed.members != found or parsed.has_keys != (keys is not None):
            raise ArchiveRefused("This backup is damaged: its parts do not have the checksums that its manifest says.")
        if {name: count for name, count in parsed.rows.items() if count} != rows:
            raise ArchiveRefused("This backup is damaged: it has not as many rows as its manifest says.")
        return parsed, keys

    def tables(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        """The rows of each table that has some, as blocks. A table's blocks must be read before the next table."""
        blocks = self._read()
        name, data = next(blocks, ("", b""))
        while name.startswith(_TABLES):
            table = _table_of(name)

            def of_table() -> Iterator[bytes]:
                nonlocal name, data
                while name.startswith(_TABLES) and _table_of(name) == table:  # noqa: B023 - read before the next one
                    yield data
                    name, data = next(blocks, ("", b""))

            yield table, of_table()

    def _read(self) -> Iterator[tuple[str, bytes]]:
        try:
            with self._path.open("rb") as file, _opened(file, self._passphrase) as packed:
                with tarfile.open(fileobj=packed, mode="r|") as tar:
                    for member in tar:
                        yield member.name, _content(tar, member)
                while packed.read(1 << 20):  # to the end, where gzip has a checksum of its own
                    pass
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError):
            raise ArchiveRefused(f"{self._path} is no backup, or it is damaged or cut off.") from None


@contextmanager
def _opened(file: BinaryIO, passphrase: str | None) -> Iterator[gzip.GzipFile]:
    source: BinaryIO = file
    if file.read(len(archive_encryption.MAGIC)) == archive_encryption.MAGIC:
        if passphrase is None:
            raise DecryptionRefused("This backup is encrypted: its passphrase is needed.")
        file.seek(0)
        source = io.BufferedReader(DecryptingReader(file, passphrase), 1 << 18)
    else:
        file.seek(0)
    with gzip.GzipFile(fileobj=source, mode="rb") as packed:
        yield packed


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() and member.size <= _MOST_MEMBER_BYTES else None
    if file is None:
        raise ArchiveRefused("This backup is damaged: it has parts that do not belong there.")
    return file.read()


def _table_of(name: str) -> str:
    if not name.startswith(_TABLES) or name.count("/") != 2:
        raise ArchiveRefused("This backup is damaged: it has parts that do not belong there.")
    return name.split("/")[1]


def _parse_keys(data: bytes) -> Keys:
    try:
        found = json.loads(data)
        return Keys(found["secret_key"], found["field_keys"])
    except (ValueError, KeyError, TypeError):
        raise ArchiveRefused("The keys in this backup are damaged.") from None
