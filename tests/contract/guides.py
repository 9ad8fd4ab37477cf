"""The published guides that answers are held against, read in place; never copied into the project.

They lie where the requirements plugin finds the statements; without them their tests are skipped.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

from tests.contract.profiles import SDC_TEMP, Package
from tests.requirements_plugin import SPECIFICATIONS

CRD_PROFILES = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/"
CARD_TYPES = "http://hl7.org/fhir/us/davinci-crd/ValueSet/cardType"

_PACKAGE_2_0 = SPECIFICATIONS / "ig" / "davinci-crd-2.0.1.tgz"
_EXAMPLES_2_2 = SPECIFICATIONS / "ig" / "crd-2.2.1"

_VALUE_SETS = {
    # Of the SDC guide: a Task either asks for a form to be filled in, or for fulfilment.
    "http://hl7.org/fhir/uv/sdc/ValueSet/task-code": frozenset(
        {
            (SDC_TEMP, "complete-questionnaire"),
            ("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
        }
    ),
}

needs_crd_2_0 = pytest.mark.skipif(
    not _PACKAGE_2_0.is_file(),
    reason="CRD 2.0.1's package is not at hand: COVERCARD_SPECIFICATIONS names the folder that "
    "holds ig/davinci-crd-2.0.1.tgz",
)
needs_crd_2_2 = pytest.mark.skipif(
    not _EXAMPLES_2_2.is_dir(),
    reason="CRD 2.2.1's examples are not at hand: COVERCARD_SPECIFICATIONS names the folder that "
    "holds ig/crd-2.2.1",
)


@functools.cache
def crd_2_0() -> Package:
    """CRD 2.0.1's package."""
    return Package(_PACKAGE_2_0, _VALUE_SETS)


def crd_2_2_example(name: str) -> dict[str, Any]:
    """An official example of CRD 2.2.1, such as "CRDServiceRequest"."""
    loaded: dict[str, Any] = json.loads((_EXAMPLES_2_2 / f"{name}.json").read_text("utf-8"))
    return loaded
