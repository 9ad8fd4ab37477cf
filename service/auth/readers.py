"""Readers file: readers of the decision log in a browser, each with its own secret."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from service.auth.operator_files import finding, read_yaml
from service.errors import Finding, LibraryError

_SHORTEST = 32
_FEWEST_CHARACTERS = 8
_MAKE_ONE = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
_EXAMPLE = "see examples/readers.example.yaml"


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader. `name` identifies it in the access log.

    `key`, derived from its secret, signs its sessions: a new secret ends them.
    """

    name: str
    key: bytes = field(repr=False)


class Readers:
    """The readers of a file, by name."""

    def __init__(self, readers: Iterable[Reader]) -> None:
        self._readers = {reader.name: reader for reader in readers}
        self._nobody = Reader("", secrets.token_bytes(32))

    @property
    def digest(self) -> str:
        """SHA-256 of their names and keys. Not to be shown: secrets could be tried against it."""
        lines = [f"{name} {reader.key.hex()}\n" for name, reader in sorted(self._readers.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, sorted."""
        return tuple(sorted(self._readers))

    def named(self, name: str) -> Reader | None:
        return self._readers.get(name)

    def who(self, name: str, secret: str) -> Reader | None:
        """The reader with this name and secret, or None.

        Takes the same time for an unknown name and for a wrong secret.
        """
        reader = self._readers.get(name, self._nobody)
        same = hmac.compare_digest(reader.key, key_of(secret))
        return reader if same and reader is not self._nobody else None


class _ReaderEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(pattern=r"^[\w .,'-]{1,60}$")
    secret: SecretStr

    @field_validator("secret")
    @classmethod
    def _hard_to_guess(cls, secret: SecretStr) -> SecretStr:
        text = secret.get_secret_value()
        if len(text) < _SHORTEST:
            raise ValueError(f"is too short: at least {_SHORTEST} characters")
        # A repeating text occurs in the middle of its own doubling.
        if len(set(text)) < _FEWEST_CHARACTERS or text in (text + text)[1:-1]:
            raise ValueError("is easily guessed")
        return secret


class _ReadersFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    readers: list[_ReaderEntry] = Field(min_length=1)


def load_readers(path: Path) -> Readers:
    """The readers of a file.

    Raises LibraryError with all errors: weak or duplicate secrets, duplicate names, and a file
    readable for everyone on the machine. It quotes no secret.
    """
    try:
        read = _ReadersFile.model_validate(read_yaml(path, "COVERCARD_READERS_FILE"))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_context=False)
        raise LibraryError([_complaint(path, e["loc"], e["msg"]) for e in wrong]) from None
    findings: list[Finding] = []
    if path.stat().st_mode & 0o007:
        repair = f"chmod o= {path.name}"
        findings.append(finding(path, (), "contains secrets, and everyone can read it", repair))
    readers: dict[str, Reader] = {}
    keys: set[bytes] = set()
    for n, entry in enumerate(read.readers):
        key = key_of(entry.secret.get_secret_value())
        if entry.name in readers:
            findings.append(finding(path, ("readers", n, "name"), "is taken", "name it otherwise"))
        if key in keys:
            findings.append(finding(path, ("readers", n, "secret"), "is another's too", _MAKE_ONE))
        keys.add(key)
        readers[entry.name] = Reader(entry.name, key)
    if findings:
        raise LibraryError(findings)
    return Readers(readers.values())


def _complaint(path: Path, where: tuple[int | str, ...], problem: str) -> Finding:
    return finding(path, where, problem, _MAKE_ONE if where[-1:] == ("secret",) else _EXAMPLE)


def key_of(secret: str) -> bytes:
    """A key of fixed length. A fast hash suffices: short or simple secrets are refused."""
    return hashlib.sha256(b"covercard reader:" + secret.encode("utf-8", "replace")).digest()
