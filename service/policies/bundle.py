"""Signed bundle of a library: one file with its digest, made on one machine and loaded on many.

It is a ZIP archive, stored and without times: the same files, key and moment make the same bytes.
MANIFEST tells the moment and each file's SHA-256, and SIGNATURE is the manifest's (Ed25519,
RFC 8032). A bundle is read only if it is, byte for byte, the one that its manifest and files make.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from service import __version__
from service.errors import ConfigurationError, Finding, LibraryError, NotNow
from service.policies.library_files import (
    ADDED,
    PAYERS,
    POLICIES,
    PROGRAMS,
    LibraryPlaces,
    digest_of,
)

log = structlog.get_logger(__name__)

FORMAT = 1
MANIFEST = "MANIFEST"
SIGNATURE = "SIGNATURE"

MOST_BYTES = 256 * 1024 * 1024
"""Bytes of a bundle that are read; ten thousand policies have some fifty million."""

_SIGNED_AS = b"covercard policy bundle\n"
"""Begins what is signed, so that no signature for another purpose counts here."""
_NAME = re.compile(r"(?:policies|added)(?:/(?!\.)[^/\\\0]+)+|payers\.yaml|programs\.yaml")
"""Names of files: below two folders, no part of which is hidden or leads up."""
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_UNIX = 3


class _Manifest(msgspec.Struct, frozen=True):
    format: int
    made_by: str
    digest: str
    files: dict[str, str]
    made: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that is whole: its place, its files by their names, and their digest.

    `signed` is true where its signature was checked with a key; `made` is the moment at which it
    was made, None where a former version made it.
    """

    path: Path
    files: Mapping[str, bytes]
    digest: str
    signed: bool
    made: datetime | None


def bundle_bytes(files: Mapping[str, bytes], key: Ed25519PrivateKey, made: datetime) -> bytes:
    """The bundle of a library's files (`library_files.read_files`), signed with a key.

    `made` is the moment, with its offset; a reload takes no bundle for one that was made later.
    """
    files = {name: content.replace(b"\r\n", b"\n") for name, content in sorted(files.items())}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = msgspec.json.format(
        msgspec.json.encode(
            _Manifest(FORMAT, f"covercard {__version__}", digest_of(files), hashes, made),
            order="sorted",
        )
    )
    return _archive(manifest, key.sign(_SIGNED_AS + manifest), files)


def read_bundle(path: Path, key: Ed25519PublicKey | None) -> Bundle:
    """The bundle in a file, if the holder of the key's other half has signed it.

    Without a key its signature is not checked. Raises ConfigurationError for a file that is no
    bundle, that is not as it was made, of a newer format or of another key.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    if len(content) > MOST_BYTES:
        raise ConfigurationError(f"{path}: is no bundle: more than {MOST_BYTES} bytes")
    try:
        return _checked(path, content, key)
    except (zipfile.BadZipFile, _NoBundle, ValueError, EOFError, RuntimeError) as error:
        why = str(error) if isinstance(error, _NoBundle) else "is no bundle, or is damaged"
        raise ConfigurationError(f"{path}: {why}") from None


class _NoBundle(Exception):
    pass


def _checked(path: Path, content: bytes, key: Ed25519PublicKey | None) -> Bundle:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        # Stored, and of this file's own bytes: nothing unfolds into more than was read.
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
            raise _NoBundle("is no bundle, or is damaged")
        if sum(entry.file_size for entry in entries) > len(content):
            raise _NoBundle("is no bundle, or is damaged")
        found = {entry.filename: archive.read(entry) for entry in entries}
    manifest, signature = found.pop(MANIFEST, b""), found.pop(SIGNATURE, b"")
    number = msgspec.json.decode(manifest, type=dict[str, msgspec.Raw]).get("format", b"0")
    if msgspec.json.decode(number, type=int) > FORMAT:
        raise _NoBundle(
            f"was made by a newer version, in format {bytes(number).decode()}: this one reads"
            f" format {FORMAT}; upgrade this machine first, or make the bundle by version"
            f" {__version__}"
        )
    if key is not None:
        try:
            key.verify(signature, _SIGNED_AS + manifest)
        except InvalidSignature:
            raise _NoBundle(
                "was not signed with the key whose public half this is, or was changed since"
            ) from None
    told = msgspec.json.decode(manifest, type=_Manifest)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    if hashes != told.files or content != _archive(manifest, signature, found):
        raise _NoBundle("was changed since it was made")
    named = {PAYERS, PROGRAMS} <= found.keys() and all(map(_NAME.fullmatch, found))
    if not named or digest_of(found) != told.digest:
        raise _NoBundle("is no bundle of this service")
    return Bundle(path, found, told.digest, signed=key is not None, made=told.made)


def _archive(manifest: bytes, signature: bytes, files: Mapping[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        entries = {MANIFEST: manifest, SIGNATURE: signature} | dict(sorted(files.items()))
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, _FIRST_DAY)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            archive.writestr(entry, content)
    return written.getvalue()


@contextlib.contextmanager
def extracted(bundle: Bundle) -> Iterator[LibraryPlaces]:
    """The files of a bundle in a folder of this process's own, which is gone at the block's end.

    What is found wrong with them in the block is told by their names in the bundle. Raises
    NotNow where they cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            made = tempfile.TemporaryDirectory(
                prefix="covercard-bundle-", ignore_cleanup_errors=True
            )
            folder = Path(stack.enter_context(made))
            (folder / POLICIES).mkdir()
            for name, content in bundle.files.items():
                path = folder / name if "/" in name else folder / POLICIES / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            added = folder / ADDED
            if added.is_dir():
                # Cases go by the programs beside their policies.
                (added / PROGRAMS).write_bytes(bundle.files[PROGRAMS])
        except OSError as error:
            raise NotNow(
                f"the policy bundle cannot be unpacked in the folder of TMPDIR ({error.strerror})"
            ) from None
        try:
            yield LibraryPlaces(
                folder / POLICIES,
                folder / POLICIES / PAYERS,
                added if added.is_dir() else None,
                folder / POLICIES / PROGRAMS,
                bundle.made,
            )
        except LibraryError as error:
            findings = [_in_bundle(finding, bundle, folder) for finding in error.findings]
            raise LibraryError(findings) from None


def _in_bundle(finding: Finding, bundle: Bundle, folder: Path) -> Finding:
    if not finding.file.is_relative_to(folder):
        return finding
    return replace(finding, file=bundle.path / finding.file.relative_to(folder))


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file. Raises ConfigurationError, which quotes nothing of it."""
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    if mode & 0o077:
        raise ConfigurationError(f"{path}: others may read this key; run `chmod 600 {path}`")
    key: object = None
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigurationError(
            f"{path}: is encrypted: write the key without a password"
        ) from None
    except Exception as error:  # cryptography raises an open list of errors for odd keys
        log.info("no private key", kind=type(error).__name__)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            f"{path}: is no Ed25519 private key in PEM;"
            " make one: openssl genpkey -algorithm ed25519 -out FILE"
        )
    return key


def verifying_key(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file. Raises ConfigurationError."""
    key: object = None
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # cryptography raises an open list of errors for odd keys
        log.info("no public key", kind=type(error).__name__)
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(
            f"{path}: is no Ed25519 public key in PEM;"
            " take it from the private one: openssl pkey -in KEY -pubout -out FILE"
        )
    return key
