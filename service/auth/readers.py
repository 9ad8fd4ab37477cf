"""The readers file: who may read the decision log in a browser, each with a secret of its own."""

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
    """Who may read. `name` stands for it in the log of accesses; `key` is made of its secret.

    Sessions are signed with `key`: another secret ends them.
    """

    name: str
    key: bytes = field(repr=False)


class Readers:
    """The readers of a file, by name."""

    def __init__(self, readers: Iterable[Reader]) -> None:
        self._readers = {reader.name: reader for reader in readers}
        self._nobody = Reader("", secrets.token_bytes(32))

    def named(self, name: str) -> Reader | None:
        return self._readers.get(name)

    def who(self, name: str, secret: str) -> Reader | None:
        """The reader of this name and secret; None if there is none.

        It takes as long for a name that is not known as for a wrong secret.
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
        # A text that repeats itself is found in the middle of itself twice.
        if len(set(text)) < _FEWEST_CHARACTERS or text in (text + text)[1:-1]:
            raise ValueError("is easily guessed")
        return secret


class _ReadersFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    readers: list[_ReaderEntry] = Field(min_length=1)


def load_readers(path: Path) -> Readers:
    """The readers of a file.

    Raises LibraryError with everything that is wrong: secrets that are weak or used twice, names
    that are, and a file that everybody on the machine may read. No secret is repeated in it.
    """
    try:
        read = _ReadersFile.model_validate(read_yaml(path, "COVERCARD_READERS_FILE"))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_context=False)
        raise LibraryError([_complaint(path, e["loc"], e["msg"]) for e in wrong]) from None
    findings: list[Finding] = []
    if path.stat().st_mode & 0o007:
        repair = f"chmod o= {path.name}"
        findings.append(finding(path, (), "holds secrets, and everybody may read it", repair))
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
    """A key of fixed length. No slow hash: a secret is long and random, or it is refused."""
    return hashlib.sha256(b"covercard reader:" + secret.encode("utf-8", "replace")).digest()
