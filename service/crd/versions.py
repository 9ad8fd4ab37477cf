"""Registry of CRD versions, and negotiation of a request's version.

A new version is a module like `v2_2`, and its object in VERSIONS: discovery, the command line, the
workbench, cards and coverage information go by that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date

from cards.coverage_information import CoverageInformation, DocNeeded
from cards.coverage_information.reader import is_coverage_information, read_extension
from cards.texts.wording import ReasonLabels
from service.crd.crd_version import CrdVersion
from service.crd.v2_0 import V2_0
from service.crd.v2_2 import V2_2
from service.errors import ConfigurationError

VERSIONS: tuple[CrdVersion, ...] = (V2_0, V2_2)
DEFAULT_VERSION = V2_0
"""The version for requests without one, as of plain CDS Hooks clients."""

_MAJOR_MINOR = re.compile(r"\d+\.\d+")
_PATCH_LEVEL = re.compile(r"(\d+\.\d+)(?:\.\d+)?(?:-\w+)?")


class CrdVersions:
    """The registered versions, oldest first.

    Raises ConfigurationError for an incomplete version.
    """

    def __init__(
        self,
        versions: Sequence[CrdVersion] = VERSIONS,
        default: CrdVersion = DEFAULT_VERSION,
    ) -> None:
        self._by_name = {v.name: v for v in versions}
        self._default = default
        if len(self._by_name) < len(versions):
            raise ConfigurationError("CRD versions: one name is used twice")
        if default not in versions:
            raise ConfigurationError(f"CRD versions: the default {default.name} is not among them")
        for version in versions:
            for lack in _lacks(version):
                raise ConfigurationError(f"CRD version {version.name!r}: {lack}")

    def __iter__(self) -> Iterator[CrdVersion]:
        return iter(self._by_name.values())

    def negotiate(self, requested: object) -> CrdVersion:
        """The answer's version; a patch level is ignored, an unknown version gets the default."""
        if isinstance(requested, str):
            if (exact := self._by_name.get(requested)) is not None:
                return exact
            match = _PATCH_LEVEL.fullmatch(requested.strip())
            if match:
                return self._by_name.get(match[1], self._default)
        return self._default


def _lacks(version: CrdVersion) -> Iterator[str]:
    """The gaps of a version, each with its fix."""
    if not _MAJOR_MINOR.fullmatch(version.name):
        yield 'its name is not "major.minor"; write it as in davinci-crd.version'
    systems = {
        "topic_system": version.topic_system,
        "dtr.purpose_system": version.dtr.purpose_system,
    }
    for name, system in systems.items():
        if not system:
            yield f"{name} is empty; name the code system"
    for needed in DocNeeded:
        if not version.doc_needed.get(needed):
            yield f"doc_needed has no code for {needed.value!r}; add one"
    extension = version.coverage_information(_SAMPLE, _LABELS)
    if not is_coverage_information(extension):
        yield "coverage_information writes another extension than ext-coverage-information"
    written = read_extension(extension)
    for url, found, wanted in (
        ("coverage", written.coverage, _SAMPLE.coverage),
        ("covered", written.covered, _SAMPLE.covered),
        ("date", written.date, _SAMPLE.stated_on.isoformat()),
        ("coverage-assertion-id", written.assertion_id, _SAMPLE.assertion_id),
    ):
        if found != wanted:
            yield f"coverage_information writes {found!r} as {url}, expected {wanted!r}"


_LABELS = ReasonLabels(
    coverage="{reason}", authorization="{reason}", form="{reason}", assumption="{reason}"
)
_SAMPLE = CoverageInformation(
    coverage="Coverage/sample",
    covered="not-covered",
    codes=(),
    reasons=(),
    stated_on=date(2026, 1, 1),
    assertion_id="sample",
)
