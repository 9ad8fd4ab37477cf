"""Coverage information in plain values, the same for every CRD version.

Each version encodes it; `reader` reads it, `parts` are common to all encodings.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Literal

import msgspec

EXTENSION_URL = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"

Answer = Literal["covered", "not-covered", "conditional", "indeterminate"]
PaNeeded = Literal["no-auth", "auth-needed", "satisfied", "conditional"]

NO_DETAIL_CODE = "detail-code"
TECHNICAL = "technical"
NO_ACTIVE_COVERAGE = "no-active-coverage"
NOTICE_ON_FILE = "notice-on-file"
DOCUMENTATION_ON_FILE = "documentation-on-file"
CLAIM_MODIFIER = "claim-modifier"


class DocNeeded(StrEnum):
    """Source of the needed documentation; each CRD version has a code for each."""

    CLINICAL = "clinical"
    ADMIN = "admin"
    PATIENT = "patient"
    CONDITIONAL = "conditional"


class Documentation(msgspec.Struct, frozen=True):
    """A requested form with its purpose.

    `doc_needed` is the code in the requested CRD version; `doc_purpose`, e.g. "retain-doc";
    `questionnaire`, the form's canonical with its version.
    """

    doc_needed: str
    doc_purpose: str
    reason: str
    questionnaire: str


DetailValue = str | bool | tuple[str, str] | tuple[date, date]
"""A text, a truth value, a number with its UCUM unit, or the first and last day of a period."""


class Detail(msgspec.Struct, frozen=True):
    """A named value of coverage information, in our own words.

    `name` is a code-like word ("claim-modifier"), `qualification` a sentence about the value,
    `category` a code of CRD 2.2 ("cat-limitation").
    """

    name: str
    value: DetailValue
    qualification: str | None
    category: str = "cat-other"


class ContactPoint(msgspec.Struct, frozen=True):
    name: str
    system: str
    value: str


class CoverageInformation(msgspec.Struct, frozen=True):
    """The coverage information of one order under one coverage.

    `reasons` are texts; `reason_code` is a code of the version's coverageAssertionReasons, or None;
    `info_needed` says what kinds of information would settle it ("detail-code", "timeframe",
    "OTH").
    `documentation` is what is still asked for; `details` are further facts, such as a notice on
    file. `codes` are the (system, code) pairs that it holds for, `assumptions` sentences on what
    else was taken for granted. `stated_on` is a day in the service's time zone, `expires_on` the
    last day that it can hold for, where that is known. `instructions` is a sentence for staff,
    `policy_url` the policy's page. `pa_needed` is said where more is known of prior authorization
    than follows from `covered`; `satisfied_by` is the number of the authorization on file, set
    exactly when it is "satisfied". `coded_reasons` are (code, text) of further reasons.
    """

    coverage: str
    covered: Answer
    codes: tuple[tuple[str, str], ...]
    reasons: tuple[str, ...]
    stated_on: date
    assertion_id: str
    reason_code: str | None = None
    info_needed: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    expires_on: date | None = None
    documentation: tuple[Documentation, ...] = ()
    policy_url: str | None = None
    instructions: str | None = None
    details: tuple[Detail, ...] = ()
    contact: ContactPoint | None = None
    dependencies: tuple[str, ...] = ()
    pa_needed: PaNeeded | None = None
    satisfied_by: str | None = None
    coded_reasons: tuple[tuple[str, str], ...] = ()
