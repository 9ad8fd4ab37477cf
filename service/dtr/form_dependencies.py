"""Dependencies of a form: the Libraries and ValueSets that it names (DTR 2.2 oper-12 to 16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from cards.questionnaires.form_libraries import FormLibraries
from cards.vocabulary import Json
from service.dtr.fhir_value_sets import FhirValueSets
from service.dtr.form_shape import CQF_LIBRARY

UNIT_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/questionnaire-unitValueSet"


@dataclass(slots=True)
class Dependencies:
    """Dependencies found: Libraries, ids of value sets, and canonicals that are not on file.

    `versions` are those found, by URL.
    """

    libraries: list[Json] = field(default_factory=list)
    value_sets: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FormDependencies:
    """Look-up of what forms name."""

    libraries: FormLibraries
    value_sets: FhirValueSets

    def of(self, form: Mapping[str, Any], day: date) -> Dependencies:
        """The dependencies of a Questionnaire on a day, each once; those of Libraries included."""
        found = Dependencies()
        asked: set[str] = set()
        pending = list(_of_form(form))
        for canonical in pending:
            if canonical in asked:
                continue
            asked.add(canonical)
            library = self.libraries.by_canonical(canonical)
            value_set = self.value_sets.find(canonical, day)
            url = canonical.partition("|")[0]
            if library is not None:
                if library not in found.libraries:
                    found.libraries.append(library)
                found.versions[url] = library["version"]
                pending.extend(_of_library(library))
            elif value_set is not None:
                if value_set not in found.value_sets:
                    found.value_sets.append(value_set)
                found.versions[url] = self.value_sets.version(value_set, day)
            else:
                found.unknown.append(canonical)
        return found


def _of_form(form: Mapping[str, Any]) -> Iterator[str]:
    for extension in form.get("extension", ()):
        if extension.get("url") == CQF_LIBRARY:
            yield extension["valueCanonical"]
    pending: list[Any] = [*form.get("item", ())]
    for item in pending:
        pending.extend(item.get("item", ()))
        value_set = item.get("answerValueSet", "#")
        if not value_set.startswith("#"):
            yield value_set
        for extension in item.get("extension", ()):
            if extension.get("url") == UNIT_VALUE_SET:
                yield extension["valueCanonical"]


def _of_library(library: Mapping[str, Any]) -> Iterator[str]:
    for artifact in library.get("relatedArtifact", ()):
        if artifact.get("type") == "depends-on" and "resource" in artifact:
            yield artifact["resource"]
    for requirement in library.get("dataRequirement", ()):
        for code_filter in requirement.get("codeFilter", ()):
            if "valueSet" in code_filter:
                yield code_filter["valueSet"]
