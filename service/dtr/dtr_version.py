"""DTR versions, as far as the operations differ, and which one a caller speaks.

Each version has an address of its own below /fhir. At /fhir itself a caller's own words decide: the
version of the profile that its input names, else the version of CRD of the answer that its context
names, else a setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cards.questionnaires.payer_address import TERMINOLOGY_SERVER
from cards.questionnaires.response_draft import DtrShape
from service.crd.v2_0 import V2_0
from service.crd.v2_2 import V2_2
from service.dtr.form_shape import FormShape

_DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class DtrVersion:
    """One version of DTR.

    `name` is "major.minor", and the version's address below /fhir; `package` and `outcome` are the
    names of the output parameters of $questionnaire-package; `response` and `form` tell what is
    different in QuestionnaireResponses and Questionnaires. With `bare_output`, a package or an
    outcome alone is answered as it is, without Parameters, at the version's own address. With
    `several_coverages`, a package may be asked for under several.
    """

    name: str
    package: str
    outcome: str
    response: DtrShape
    form: FormShape
    bare_output: bool = False
    several_coverages: bool = False


DTR_2_0 = DtrVersion(
    "2.0",
    "PackageBundle",
    "operationOutcome",
    response=V2_0.dtr,
    form=FormShape(
        unknown=frozenset(
            {
                _DTR + "alternativeExpression",
                _DTR + "estimated-completion-time",
                _DTR + "questionnaireAudience",
                _DTR + "request-specific",
                # Of the extensions pack that 2.2 is built on; R4's own name is another.
                "http://hl7.org/fhir/StructureDefinition/questionnaire-supportHyperlink",
            }
        ),
        renamed={
            TERMINOLOGY_SERVER: (
                "http://hl7.org/fhir/uv/sdc/StructureDefinition/"
                "sdc-questionnaire-preferredTerminologyServer"
            )
        },
        plain_cql=True,
        # Published clients of 2.0 look a library up by its URL alone.
        bare_libraries=True,
        conditions=False,  # dtr-questionnaire-adapt: enableWhen 0..0
        search_has_items=True,
        summaries=False,
        contained_url=False,  # sdc-questionnaire-adapt: url 0..0
        contained_profiles=(
            _DTR + "dtr-questionnaire-adapt",
            # Its base, by which the HL7 DTR app tells an adaptive form.
            "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-adapt",
        ),
        adaptive_response=(
            "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaireresponse-adapt"
        ),
    ),
    # The profile of the output asks of Parameters what only a Bundle can fulfill (bdl-3, bdl-4).
    bare_output=True,
    several_coverages=True,
)
"""DTR 2.0.1; 2.1 has the same names."""
DTR_2_2 = DtrVersion("2.2", "packagebundle", "outcome", response=V2_2.dtr, form=FormShape())
VERSIONS = (DTR_2_0, DTR_2_2)

_BY_NAME = {"2.0": DTR_2_0, "2.1": DTR_2_0, "2.2": DTR_2_2}
_INPUT = re.compile(r".*/dtr-qpackage-input-parameters\|(\d+\.\d+)(\.\d+.*)?")


def dtr_version(name: str) -> DtrVersion:
    """The version of this name; KeyError if there is none."""
    return _BY_NAME[name]


def of_profiles(profiles: Iterable[object]) -> DtrVersion | None:
    """The version of the input profile among these canonicals, if one is named with its version."""
    for profile in profiles:
        match = _INPUT.fullmatch(profile) if isinstance(profile, str) else None
        if match is not None and match[1] in _BY_NAME:
            return _BY_NAME[match[1]]
    return None


def of_crd(name: str) -> DtrVersion | None:
    """The version that is used beside a version of CRD."""
    return _BY_NAME.get(name)
