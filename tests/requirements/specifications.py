"""The published guides that tests read in place; no file of theirs is part of this project.

They lie in the folder that COVERCARD_SPECIFICATIONS names, or else in `../shared/spec` beside the
checkout. A test that needs an absent one is skipped and says so; docs/conformance.md says where
each is published and where to put it.
"""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("COVERCARD_SPECIFICATIONS", ROOT.parent / "shared" / "spec"))


@dataclass(frozen=True, slots=True)
class Published:
    """A file or folder of a guide: its name, and its places under the folder of specifications.

    One place suffices; the others hold the same in another form.
    """

    name: str
    places: tuple[str, ...]

    def at_hand(self) -> list[Path]:
        return [path for place in self.places if (path := FOLDER / place).exists()]

    @property
    def path(self) -> Path:
        """FileNotFoundError where it is not at hand."""
        for path in self.at_hand():
            return path
        raise FileNotFoundError(self.reason)

    @property
    def reason(self) -> str:
        """Why a test that needs it is skipped, and what to do about it."""
        return (
            f"{self.name} not at hand: put it at {' or '.join(self.places)} in the folder that "
            "COVERCARD_SPECIFICATIONS names (docs/conformance.md)"
        )

    @property
    def needed(self) -> pytest.MarkDecorator:
        """Skips a test where it is absent."""
        return pytest.mark.skipif(not self.at_hand(), reason=self.reason)


CRD_2_0_PACKAGE = Published("the FHIR package of CRD 2.0.1", ("ig/davinci-crd-2.0.1.tgz",))
CRD_2_2_EXAMPLES = Published("the examples of CRD 2.2.1", ("ig/crd-2.2.1/CRDServices.json",))

_KIT = "davinci_crd_test_kit_requirements.csv"
LISTS = {
    "crd-2.2.1": Published(
        "the list of CRD 2.2.1's statements",
        ("ig/crd-2.2.1/Requirements-fromNarrative.json", "crd-2.2.1-server-requirements.tsv"),
    ),
    "crd-2.0.1": Published(
        "the list of CRD 2.0.1's statements", (_KIT, "crd-2.0.1-server-requirements.tsv")
    ),
    "cds-hooks-2.0": Published(
        "the list of CDS Hooks 2.0's statements", (_KIT, "cds-hooks-2.0-service-requirements.tsv")
    ),
}
"""The lists of statements by specification, of which the tables beside this module hold the ids."""

ALL = (CRD_2_0_PACKAGE, CRD_2_2_EXAMPLES, *LISTS.values())


def missing() -> list[Published]:
    """What of the guides tests need and is not at hand."""
    return [published for published in ALL if not published.at_hand()]


@dataclass(frozen=True, slots=True)
class PublishedStatement:
    """A statement as a list gives it; `binding` is None where it stands in the text alone."""

    binding: str | None
    text: str


def published_statements(path: Path, source: str) -> dict[str, PublishedStatement]:
    """The statements that bind a service, by full id, of a list of any of the three forms."""
    read = {".json": _of_the_guide, ".csv": _of_the_test_kit, ".tsv": _tabbed}[path.suffix]
    return {f"{source}:{id_}": statement for id_, statement in read(path, source).items()}


def _of_the_guide(path: Path, _: str) -> dict[str, PublishedStatement]:
    actors = {"crd-server", "crd-server-org"}
    found = {}
    for statement in json.loads(path.read_text("utf-8"))["statement"]:
        if actors & {extension.get("valueId") for extension in statement["extension"]}:
            # FHIR has no code for a prohibition, and leaves it to the text.
            binding = "/".join(statement.get("conformance", ())) or None
            found[statement["key"]] = PublishedStatement(binding, statement["requirement"])
    return found


def _of_the_test_kit(path: Path, source: str) -> dict[str, PublishedStatement]:
    wanted = {"crd-2.0.1": "hl7.fhir.us.davinci-crd_2.0.1", "cds-hooks-2.0": "cds-hooks_2.0"}
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {
            row["ID"]: PublishedStatement(row["Conformance"], row["Requirement"])
            for row in csv.DictReader(file)
            if row["Req Set"] == wanted[source]
            and {"Server", "Service"} & set(row["Actors"].split(","))
        }


def _tabbed(path: Path, source: str) -> dict[str, PublishedStatement]:
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["id"].removeprefix(f"{source}:"): PublishedStatement(
                row["conformance"], row["requirement"]
            )
            for row in csv.DictReader(file, delimiter="\t")
        }
