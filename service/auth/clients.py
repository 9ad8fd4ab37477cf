"""Clients file: CDS clients with their keys and FHIR servers."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.addresses import is_loopback
from service.auth.fetch_key_set import fetch_key_set
from service.auth.key_sets import (
    KEEP_FOR,
    MOST_WAITING_IN_ALL,
    FetchedKeys,
    FixedKeys,
    KeySource,
    read_key_set,
)
from service.auth.operator_files import finding, read_yaml
from service.ehr.allowlist import parse_base
from service.errors import Finding, LibraryError

log = structlog.get_logger(__name__)

KEYS_THAT_ANYONE_HAS = frozenset({"https://sandbox.cds-hooks.org"})
"""Issuers with a published private key: anyone can sign in their name."""


@dataclass(frozen=True, slots=True)
class Client:
    """A CDS client. `name` identifies it in logs and records, unique in a file.

    `fhir_servers` are the base URLs, without a trailing slash, allowed as fhirServer of its calls;
    None in open mode. `apps` are the launch URLs of the client's SMART apps by name.
    """

    issuer: str
    name: str
    fhir_servers: frozenset[str] | None = frozenset()
    apps: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def told_apart_as(self) -> str:
        """Its name; "" in open mode, which does not tell callers apart."""
        return self.name if self.issuer else ""


ANYONE = Client(issuer="", name="anyone", fhir_servers=None)
"""The caller in open mode, which is for loopback only."""


@dataclass(frozen=True, slots=True)
class TrustedClient:
    """A client with the keys of its tokens; `demo`: its private key is public. `client_id` is its
    name at the token endpoint, None if it gets no access tokens.
    """

    client: Client
    keys: KeySource
    demo: bool = False
    client_id: str | None = None


class _ClientEntry(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    issuer: str = Field(min_length=1, max_length=255)
    name: str | None = Field(None, pattern=r"^[\w .,:/()&'-]{1,60}$")
    client_id: str | None = Field(None, min_length=1, max_length=255)
    jwks_file: str | None = None
    jwks_url: str | None = None
    jwks: dict[str, Any] | None = None
    fhir_servers: list[str] = []
    apps: dict[str, str] = {}
    demo: bool = False
    revoked: bool = False

    @field_validator("jwks_url")
    @classmethod
    def _pinned(cls, url: str | None) -> str | None:
        if url is not None:
            check_address(url)
        return url

    @field_validator("apps")
    @classmethod
    def _launched_by_url(cls, apps: dict[str, str]) -> dict[str, str]:
        for url in apps.values():
            check_address(url)
        return apps

    @field_validator("fhir_servers")
    @classmethod
    def _bases(cls, urls: list[str]) -> list[str]:
        return [parse_base(url).url for url in urls]

    @model_validator(mode="after")
    def _one_key_source(self) -> _ClientEntry:
        given = [n for n in ("jwks_file", "jwks_url", "jwks") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("needs exactly one of jwks_file, jwks_url and jwks")
        if self.issuer in KEYS_THAT_ANYONE_HAS and not self.demo:
            raise ValueError("anyone can sign for this issuer: write demo: true, or remove it")
        return self


class _ClientsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    clients: list[_ClientEntry] = Field(min_length=1)


def check_address(url: str) -> None:
    """Raise ValueError unless a URL is https:// without secrets; http:// on loopback alone."""
    parts = urlsplit(url)
    encrypted = parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    )
    if not encrypted or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(
            "expected https://host/path without user, query or fragment (http:// on loopback alone)"
        )


@dataclass(frozen=True, slots=True)
class ClientsOnFile:
    """The clients of a file with which nothing is wrong, and their key files, as read.

    `digest` is the SHA-256 of what they say, wherever the files are.
    """

    entries: tuple[tuple[_ClientEntry, object], ...]
    digest: str

    def trusted(
        self,
        fetch: Callable[[str], bytes] = fetch_key_set,
        seconds: Callable[[], float] = time.monotonic,
        keep_for: float = KEEP_FOR,
        before: Mapping[str, TrustedClient] | None = None,
    ) -> Mapping[str, TrustedClient]:
        """Clients by issuer, without those that are revoked.

        Key set URLs are read when a token needs them; `keep_for` are the seconds for which keys are
        trusted while their URL is down. `before` are the clients of the snapshot of before: keys
        fetched for the same client from the same URL stay. A client that is trusted for a
        demonstration is warned of in the log.
        """
        waiting = threading.BoundedSemaphore(MOST_WAITING_IN_ALL)
        trusted: dict[str, TrustedClient] = {}
        for entry, key_set in self.entries:
            if entry.revoked:
                continue
            former = (before or {}).get(entry.issuer)
            keys: KeySource
            if entry.jwks_url is None:
                keys = FixedKeys(read_key_set(key_set))
            elif former is not None and former.keys.url == entry.jwks_url:
                keys = former.keys
            else:
                keys = FetchedKeys(
                    entry.jwks_url, fetch, seconds, keep_for=keep_for, waiting=waiting
                )
            trusted[entry.issuer] = TrustedClient(_client(entry), keys, entry.demo, entry.client_id)
        _warn_of_demonstrations(trusted.values())
        return trusted


def read_clients(path: Path) -> ClientsOnFile:
    """The clients of a file, with their key files; a relative `jwks_file` is looked for beside it.

    Raises LibraryError with everything that is wrong.
    """
    try:
        read = _ClientsFile.model_validate(read_yaml(path, "COVERCARD_CLIENTS_FILE"))
    except ValidationError as error:
        raise LibraryError([_finding(path, e["loc"], e["msg"]) for e in error.errors()]) from None
    entries: dict[str, tuple[_ClientEntry, object]] = {}
    findings: list[Finding] = []
    names = {ANYONE.name}
    client_ids: set[str | None] = set()
    content = hashlib.sha256()
    for index, entry in enumerate(read.clients):
        if entry.issuer in entries:
            findings.append(_finding(path, ("clients", index, "issuer"), "is listed twice"))
            continue
        client = _client(entry)
        if client.name in names:
            findings.append(_finding(path, ("clients", index, "name"), "is taken"))
        names.add(client.name)
        try:
            key_set = _key_set(entry, path.parent)
        except (OSError, ValueError) as error:
            field = "jwks_file" if entry.jwks_file is not None else "jwks"
            findings.append(_finding(path, ("clients", index, field), _said(error)))
            continue
        told = entry.model_dump(exclude={"jwks_file", "jwks"}) | {"key_set": key_set}
        content.update(json.dumps(told, sort_keys=True, default=str).encode() + b"\n")
        if entry.client_id is not None and entry.client_id in client_ids:
            findings.append(_finding(path, ("clients", index, "client_id"), "is taken"))
        client_ids.add(entry.client_id)
        entries[entry.issuer] = (entry, key_set)
    if findings:
        raise LibraryError(findings)
    return ClientsOnFile(tuple(entries.values()), content.hexdigest())


def load_clients(
    path: Path,
    fetch: Callable[[str], bytes] = fetch_key_set,
    seconds: Callable[[], float] = time.monotonic,
    keep_for: float = KEEP_FOR,
) -> Mapping[str, TrustedClient]:
    """Clients by issuer, as `read_clients` and `ClientsOnFile.trusted` have it."""
    return read_clients(path).trusted(fetch, seconds, keep_for)


def _warn_of_demonstrations(trusted: Iterable[TrustedClient]) -> None:
    for each in trusted:
        if each.demo:
            log.warning(
                "DEMONSTRATION CLIENT TRUSTED",
                meaning="anyone can call in its name: let no real patient come near this service",
                client=each.client.name,
                issuer=each.client.issuer,
            )


def _client(entry: _ClientEntry) -> Client:
    servers = frozenset(entry.fhir_servers)
    return Client(entry.issuer, entry.name or entry.issuer, servers, entry.apps)


def _key_set(entry: _ClientEntry, folder: Path) -> object:
    """The key set of an entry, None where it is fetched. Raises OSError and ValueError."""
    if entry.jwks_url is not None:
        return None
    key_set: object = entry.jwks
    if entry.jwks_file is not None:
        key_set = msgspec.json.decode((folder / entry.jwks_file).read_bytes())
    if not read_key_set(key_set):
        raise ValueError("holds no key for ES384 (EC, P-384) or RS384 (RSA, 2048 bits) with a kid")
    return key_set


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    if isinstance(error, msgspec.DecodeError):
        return "is not JSON"
    return str(error)


def _finding(path: Path, where: tuple[str | int, ...], problem: str) -> Finding:
    return finding(path, where, problem, "see examples/clients.example.yaml for a file that works")
