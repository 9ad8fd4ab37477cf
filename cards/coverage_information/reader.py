"""Reader of coverage information on an order, of any CRD version and author.

Lenient: invalid FHIR is ignored, never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from cards.coverage_information import EXTENSION_URL


class WrittenPart(NamedTuple):
    """One part of the extension: `url`, value[x] or None, and its FHIR JSON."""

    url: str
    value: object
    json: Mapping[str, Any]

    @property
    def text(self) -> str | None:
        """A string value, a Reference's reference or a concept's text, else None."""
        value = self.value
        if isinstance(value, Mapping):
            value = value.get("reference", value.get("text"))
        return value if isinstance(value, str) else None


class WrittenCoverageInformation(msgspec.Struct, frozen=True):
    """One coverage information; `parts` in their sequence."""

    parts: tuple[WrittenPart, ...]

    @property
    def coverage(self) -> str | None:
        """The reference to the coverage, as written."""
        return self._last("coverage")

    @property
    def covered(self) -> str | None:
        """The `covered` code."""
        return self._last("covered")

    @property
    def assertion_id(self) -> str | None:
        """The coverage-assertion-id."""
        return self._last("coverage-assertion-id")

    @property
    def date(self) -> str | None:
        """The day of the answer, as a FHIR date."""
        return self._last("date")

    @property
    def questionnaires(self) -> tuple[str, ...]:
        """The canonicals of the requested forms."""
        return self._all("questionnaire")

    @property
    def reasons(self) -> tuple[str, ...]:
        """The texts of the reasons."""
        return self._all("reason")

    def detail(self, name: str) -> tuple[str, ...]:
        """The values of details with this code text, such as NOTICE_ON_FILE."""
        found: list[str] = []
        for part in self.parts:
            inner = read_parts(part.json) if part.url == "detail" else ()
            if any(p.url == "code" and p.text == name for p in inner):
                found.extend(p.text for p in inner if p.url == "value" and p.text is not None)
        return tuple(found)

    def _last(self, url: str) -> str | None:
        found = self._all(url)
        return found[-1] if found else None

    def _all(self, url: str) -> tuple[str, ...]:
        return tuple(p.text for p in self.parts if p.url == url and p.text is not None)


def is_coverage_information(extension: object) -> bool:
    """Whether an extension is coverage information."""
    return isinstance(extension, Mapping) and extension.get("url") == EXTENSION_URL


def read_extension(extension: Mapping[str, Any]) -> WrittenCoverageInformation:
    """The content of one coverage-information extension."""
    return WrittenCoverageInformation(read_parts(extension))


def read_coverage_information(
    resource: Mapping[str, Any],
) -> Iterator[WrittenCoverageInformation]:
    """The coverage information on a resource, in sequence."""
    extensions = resource.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        if is_coverage_information(extension):
            yield read_extension(extension)


def read_parts(extension: Mapping[str, Any]) -> tuple[WrittenPart, ...]:
    """The nested extensions of an extension."""
    nested = extension.get("extension")
    return tuple(
        WrittenPart(str(part.get("url")), _value(part), part)
        for part in (nested if isinstance(nested, list) else ())
        if isinstance(part, Mapping)
    )


def _value(part: Mapping[str, Any]) -> object:
    return next((part[name] for name in part if name.startswith("value")), None)
