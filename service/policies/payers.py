"""The payers that this service answers for, recognised by their identifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.decision.coverage import Contact, Payer, PolicyLink
from service.decision.policy import Program
from service.errors import LibraryError
from service.policies import files
from service.policies.files import LibraryFile
from service.policies.lint.payer_rules import duplicate_payers


class Payers:
    """The payers of the payers file.

    `operator_name` is the insurer's name where a request has no coverage to take it from.
    """

    def __init__(self, operator_name: str, payers: Sequence[Payer]) -> None:
        self.operator_name = operator_name
        self._payers = tuple(payers)
        self._by_identifier = {i: p for p in payers for i in p.identifiers}

    def __iter__(self) -> Iterator[Payer]:
        return iter(self._payers)

    def by_identifier(self, system: str, value: str) -> Payer | None:
        """The payer with this identifier, compared exactly; None if it is not one of ours."""
        return self._by_identifier.get((system, value))


def load_payers(path: Path) -> Payers:
    """Read the payers file. Raises LibraryError with everything that is wrong with it."""
    file = files.load(path, "payers")
    findings = list(duplicate_payers(file))
    if findings:
        raise LibraryError(findings)
    return payers_of(file)


def payers_of(file: LibraryFile) -> Payers:
    """The payers of a file with which nothing is wrong."""
    return Payers(file.data["operator"], [_payer(p) for p in file.data["payers"]])


def identifiers_of(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(system, value) of a payer's identifiers in a payers file, the one that is sent first."""
    written = entry.get("identifiers") or [entry["identifier"]]
    return [(i["system"], i["value"]) for i in written]


def _payer(entry: Mapping[str, Any]) -> Payer:
    contact = entry.get("contact")
    (system, value), *others = identifiers_of(entry)
    return Payer(
        system=system,
        identifier=value,
        other_identifiers=tuple(others),
        name=entry["name"],
        line_of_business=Program(entry["line_of_business"]),
        policies=tuple(PolicyLink(p["id"], p.get("url")) for p in entry["policies"]),
        contact=Contact(**contact) if contact else None,
    )
