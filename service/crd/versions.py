"""The versions of CRD that this service speaks, and which one a request is answered in.

A new version is a row here and a dialect of that name in `cards`.
"""

from __future__ import annotations

import re
from enum import StrEnum

from service.errors import MalformedRequest, RequestError, UnprocessableRequest


class CrdVersion(StrEnum):
    """A declared CRD version, as in `davinci-crd.version` and `davinci-crd.requestedVersion`."""

    V2_0 = "2.0"
    V2_2 = "2.2"

    @property
    def needs_one_coverage(self) -> bool:
        """Whether a call without exactly one coverage of a payer of ours is refused.

        2.2 says so (CRD 2.2.1 hook-13); 2.0 is answered with what can be said (found-34).
        """
        return self is not CrdVersion.V2_0

    @property
    def refusal(self) -> type[RequestError]:
        """The error for what is JSON, but not CDS Hooks or not FHIR.

        400 in 2.2 (CRD 2.2.1 hook-13), 422 in 2.0 (CRD 2.0.1 statement 163).
        """
        return UnprocessableRequest if self is CrdVersion.V2_0 else MalformedRequest


DEFAULT_VERSION = CrdVersion.V2_0
"""What a request that names no version is answered in: plain CDS Hooks clients name none."""

_MAJOR_MINOR = re.compile(r"(\d+\.\d+)(?:\.\d+)?(?:-\w+)?")


def negotiate(requested: object) -> CrdVersion:
    """The version to answer in; a patch level is ignored, anything unknown gets the default."""
    if isinstance(requested, str):
        match = _MAJOR_MINOR.fullmatch(requested.strip())
        if match and match[1] in {v.value for v in CrdVersion}:
            return CrdVersion(match[1])
    return DEFAULT_VERSION
