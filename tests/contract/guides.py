"""The published guides that answers are held against, read in place; never copied into the project.

Where they are absent, the tests that need them are skipped and say so.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from tests.contract.profiles import SDC_TEMP, Package
from tests.requirements.specifications import CRD_2_0_PACKAGE, CRD_2_2_EXAMPLES

CRD_PROFILES = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/"
CARD_TYPES = "http://hl7.org/fhir/us/davinci-crd/ValueSet/cardType"

_VALUE_SETS = {
    # Of the SDC guide: a Task either asks for a form to be filled in, or for fulfilment.
    "http://hl7.org/fhir/uv/sdc/ValueSet/task-code": frozenset(
        {
            (SDC_TEMP, "complete-questionnaire"),
            ("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
        }
    ),
}

needs_crd_2_0 = CRD_2_0_PACKAGE.needed
needs_crd_2_2 = CRD_2_2_EXAMPLES.needed


@functools.cache
def crd_2_0() -> Package:
    """CRD 2.0.1's package."""
    return Package(CRD_2_0_PACKAGE.path, _VALUE_SETS)


def crd_2_2_example(name: str) -> dict[str, Any]:
    """An official example of CRD 2.2.1, such as "CRDServiceRequest"."""
    loaded: dict[str, Any] = json.loads(
        CRD_2_2_EXAMPLES.path.with_name(f"{name}.json").read_text("utf-8")
    )
    return loaded
