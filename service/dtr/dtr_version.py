"""DTR versions, as far as $questionnaire-package differs, and which one a caller speaks.

The operation has no parameter for it. So a caller's own words decide: the version of the profile
that its input names, else the version of CRD of the answer that its context names, else a setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DtrVersion:
    """One version of DTR. `name` is "major.minor"; `package` and `outcome` are the names of the
    operation's output parameters.
    """

    name: str
    package: str
    outcome: str


DTR_2_0 = DtrVersion("2.0", "PackageBundle", "operationOutcome")
"""DTR 2.0.1; 2.1 has the same names."""
DTR_2_2 = DtrVersion("2.2", "packagebundle", "outcome")

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
