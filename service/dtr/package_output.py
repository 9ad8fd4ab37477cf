"""Output of $questionnaire-package as FHIR: package bundles and issues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cards.vocabulary import Json
from service.dtr.dtr_version import DtrVersion
from service.dtr.packaged_forms import PackagedForm

_PROFILES = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"
OUTPUT_PROFILE = _PROFILES + "dtr-qpackage-output-parameters"
BUNDLE_PROFILE = _PROFILES + "DTR-QPackageBundle"


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue of the outcome: severity, a code of FHIR's issue-type, text and place.

    `place` is a path into the request, or "".
    """

    severity: Literal["warning", "information"]
    code: str
    text: str
    place: str = ""

    def as_json(self) -> Json:
        made: Json = {"severity": self.severity, "code": self.code, "diagnostics": self.text}
        if self.place:
            made["expression"] = [self.place]
        return made


def package_bundle(packaged: PackagedForm, responses: Sequence[Json]) -> Json:
    """A form with what it depends on and its response, the form first (DTR 2.2 dtrb-1).

    Of several coverages there is a response for each one.
    """
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [BUNDLE_PROFILE]},
        "type": "collection",
        "entry": [
            packaged.questionnaire,
            *({"fullUrl": f"urn:uuid:{r['id']}", "resource": r} for r in responses),
            *packaged.dependencies,
        ],
    }


def bare_output(bundles: Sequence[Json], issues: Sequence[Issue], version: DtrVersion) -> Json:
    """A package or an outcome alone as it is (DTR 2.0.1); else the output Parameters."""
    if len(bundles) == 1 and not issues:
        return bundles[0]
    if issues and not bundles:
        return _outcome(issues)
    return output_parameters(bundles, issues, version)


def output_parameters(
    bundles: Sequence[Json], issues: Sequence[Issue], version: DtrVersion
) -> Json:
    """The output Parameters: one for each bundle, and after them one with all issues, if any.

    A published client takes the first parameter for the bundle, whatever it is called.
    """
    parameters: list[Json] = [{"name": version.package, "resource": b} for b in bundles]
    if issues:
        parameters.append({"name": version.outcome, "resource": _outcome(issues)})
    return {
        "resourceType": "Parameters",
        "meta": {"profile": [OUTPUT_PROFILE]},
        "parameter": parameters,
    }


def _outcome(issues: Sequence[Issue]) -> Json:
    return {"resourceType": "OperationOutcome", "issue": [i.as_json() for i in issues]}
