"""Policy snapshot: what calls are answered by, read once, checked, and known by its digest.

It is the policies with their notices, programs and payers, and the clients and readers. A server
reads it, and all of its workers have the same: those that it forks share it, and to those that run
it is handed over as bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cards.questionnaires.form_libraries import load_libraries
from cards.texts import Texts
from service.auth.clients import ClientsOnFile, read_clients
from service.auth.readers import Readers, load_readers
from service.dtr.fhir_value_sets import FhirValueSets
from service.errors import ConfigurationError, NotNow
from service.policies.answer_texts import load_texts
from service.policies.bundle import Bundle, extracted, read_bundle, verifying_key
from service.policies.library import load_library
from service.policies.library_files import DIGITS, LibraryPlaces, digest_on_disk
from service.policies.notices import NoticeLibrary
from service.policies.payers import Payers
from service.policies.policy_store import PolicyStore
from service.policies.reading_cache import ReadingCache
from service.settings import Settings

_READINGS = 3
CHANGING = "{}: files are changed while they are read; wait until all of them are there"
_OF_THE_PROGRAM = "texts"
"""What a library takes from the program itself: it is not handed over."""


class Library:
    """Library of answers, loaded once: policies, notices, payers and wording.

    It is never changed: worker processes share the one of the server that they are forked from.
    `digest` is that of its files (service.policies.library_files), `made` the moment of their
    bundle.
    """

    def __init__(self, settings: Settings, places: LibraryPlaces | None = None) -> None:
        if places is not None:
            self._read(settings, places)
            return
        with library_places(settings) as found:
            self._read(settings, found)

    def _read(self, settings: Settings, places: LibraryPlaces) -> None:
        self.digest, self.made = digest_on_disk(places), places.made
        named = settings.policy_bundle or places.directory
        for _ in range(_READINGS):
            on_file = load_library(
                places.directory,
                places.payers,
                places.added,
                places.programs,
                ReadingCache(settings.cache_dir, named),
            )
            before, self.digest = self.digest, digest_on_disk(places)
            if before == self.digest:
                break
        else:
            raise NotNow(CHANGING.format(places.directory))
        self.policies: PolicyStore = on_file.policies
        self.notices: NoticeLibrary = on_file.notices
        self.payers: Payers = on_file.payers
        self.texts: Texts = load_texts()
        self.questionnaires = on_file.questionnaires
        self.form_libraries = load_libraries(on_file.form_libraries)
        self.value_sets = FhirValueSets(on_file.value_sets)

    def __getstate__(self) -> dict[str, Any]:
        return {name: part for name, part in vars(self).items() if name != _OF_THE_PROGRAM}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.texts = load_texts()


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of a snapshot, each of DIGITS hexadecimal digits.

    `policies` is that of policies, notices, programs and payers, as a bundle of them has it;
    `access` of clients and the names of readers. `secret` covers the readers' secrets as well, and
    is not to be shown.
    """

    policies: str
    access: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot; `clients` is None in open mode, `readers` where there is no file of them."""

    library: Library
    clients: ClientsOnFile | None
    readers: Readers | None

    @property
    def digests(self) -> Digests:
        return _digests(self.library.digest, self.clients, self.readers)


def read_snapshot(settings: Settings, places: LibraryPlaces | None = None) -> Snapshot:
    """The snapshot of the files as they are now; `places` where the library's are known already.

    Raises ConfigurationError with everything that is wrong with one of them.
    """
    clients, readers = _access(settings)
    return Snapshot(Library(settings, places), clients, readers)


def digests_on_disk(settings: Settings, policies: str | None = None) -> Digests:
    """The digests of the files as they are now; raises as `read_snapshot`, but checks less.

    `policies` is that of the library, where it is known that its files are as they were.
    """
    clients, readers = _access(settings)
    return _digests(policies or _policies_on_disk(settings), clients, readers)


def _policies_on_disk(settings: Settings) -> str:
    if settings.policy_bundle is not None:
        return _bundle(settings).digest
    return digest_on_disk(_places(settings))


def library_files(settings: Settings) -> Iterator[Path]:
    """The files that the library is read from. Raises LibraryError for an unreadable folder."""
    if settings.policy_bundle is not None:
        yield settings.policy_bundle
    else:
        yield from (path for _, path in _places(settings).paths())


@contextlib.contextmanager
def library_places(settings: Settings) -> Iterator[LibraryPlaces]:
    """The places of the library by the settings: the operator's own, or a bundle's, unpacked.

    Raises ConfigurationError for a bundle that cannot be trusted.
    """
    if settings.policy_bundle is None:
        yield _places(settings)
        return
    with extracted(_bundle(settings)) as places:
        yield places


def _bundle(settings: Settings) -> Bundle:
    if settings.policy_bundle is None or settings.policy_bundle_key is None:
        raise ConfigurationError("COVERCARD_POLICY_BUNDLE: no bundle is named, or no key")
    return read_bundle(settings.policy_bundle, verifying_key(settings.policy_bundle_key))


def _places(settings: Settings) -> LibraryPlaces:
    return LibraryPlaces(
        settings.policies_dir,
        settings.payers_file,
        settings.added_policies_dir,
        settings.programs_file,
    )


def _access(settings: Settings) -> tuple[ClientsOnFile | None, Readers | None]:
    clients = None
    if settings.asks_for_clients and settings.clients_file is not None:
        clients = read_clients(settings.clients_file)
    return clients, load_readers(settings.readers_file) if settings.readers_file else None


def _digests(policies: str, clients: ClientsOnFile | None, readers: Readers | None) -> Digests:
    told = [clients.digest if clients else "open", *(readers.names if readers else ())]
    access = _digest(*told)
    return Digests(policies, access, _digest(access, readers.digest if readers else ""))


def _digest(*told: str) -> str:
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:DIGITS]


def as_bytes(snapshot: Snapshot) -> bytes:
    """A snapshot for another process of this server."""
    written = io.BytesIO()
    _Pickler(written, pickle.HIGHEST_PROTOCOL).dump(snapshot)
    return written.getvalue()


def from_bytes(written: bytes) -> Snapshot:
    """The snapshot that `as_bytes` wrote. The bytes must be of this server's own memory."""
    snapshot: Snapshot = pickle.loads(written)  # noqa: S301
    return snapshot


class _Pickler(pickle.Pickler):
    """A pickler that knows read-only mappings."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


def _read_only(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)
