"""Questionnaire in the shape of a version of DTR, with a version on each of its references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cards.questionnaires.payer_address import names_the_payer
from cards.vocabulary import Json

CQF_LIBRARY = "http://hl7.org/fhir/StructureDefinition/cqf-library"
_CQL = frozenset({"text/cql-identifier", "text/cql-expression"})
_REFERENCES = frozenset(
    {"answerValueSet", "derivedFrom", "reference", "resource", "valueCanonical", "valueSet"}
)
"""Elements that hold a canonical of an artifact."""


@dataclass(frozen=True, slots=True)
class FormShape:
    """Differences of a Questionnaire between versions of DTR.

    `unknown` are the URLs of extensions that the version lacks, `renamed` its own URLs of others,
    by URL on file. With `plain_cql`, each CQL media
    type is written text/cql. With `bare_libraries`, cqf-library has no version. With `conditions`,
    items of an adaptive form may have enableWhen. With `search_has_items`, the first form of an
    adaptive one brings items. `adaptive_response` is the profile of its responses. With
    `summaries`, a response may contain the summary of its orders. With `contained_url`, the
    contained Questionnaire of an adaptive form has its form's URL; `contained_profiles` are its
    profiles.
    """

    unknown: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    plain_cql: bool = False
    bare_libraries: bool = False
    conditions: bool = True
    search_has_items: bool = False
    summaries: bool = True
    contained_url: bool = True
    contained_profiles: tuple[str, ...] = (
        "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/dtr-questionnaire-adapt",
    )
    adaptive_response: str = (
        "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/dtr-questionnaireresponse-adapt"
    )


def shaped(
    resource: Mapping[str, Any], shape: FormShape, versions: Mapping[str, str], address: str
) -> Json:
    """A copy of a Questionnaire or Library in this shape.

    `versions` are those of the artifacts at hand, by URL; a reference that has a version keeps it.
    `address` is the payer's FHIR base URL.
    """
    made: Json = _Shaping(shape, versions, address).of(resource)
    return made


class _Shaping:
    def __init__(self, shape: FormShape, versions: Mapping[str, str], address: str) -> None:
        self._shape = shape
        self._versions = versions
        self._address = address

    def of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.of(each) for each in value if not self._is_unknown(each)]
        if not isinstance(value, Mapping):
            return value
        bare = self._shape.bare_libraries and value.get("url") == CQF_LIBRARY
        if names_the_payer(value):
            value = {**value, "valueUrl": self._address}
        made: Json = {}
        for name, inner in value.items():
            if name in _REFERENCES and not bare:
                made[name] = self._with_version(inner)
            elif name == "language" and self._shape.plain_cql and inner in _CQL:
                made[name] = "text/cql"
            elif name == "url" and inner in self._shape.renamed:
                made[name] = self._shape.renamed[inner]
            else:
                made[name] = self.of(inner)
        # An element without content is no valid FHIR.
        return {name: inner for name, inner in made.items() if inner != [] or value[name] == []}

    def _is_unknown(self, value: Any) -> bool:
        return isinstance(value, Mapping) and value.get("url") in self._shape.unknown

    def _with_version(self, reference: Any) -> Any:
        if isinstance(reference, list):
            return [self._with_version(each) for each in reference]
        if not isinstance(reference, str):
            return self.of(reference)
        version = self._versions.get(reference)
        return f"{reference}|{version}" if version else reference
