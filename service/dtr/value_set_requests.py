"""Input of ValueSet/$expand: query parameters, or a Parameters resource."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Any

from cards.vocabulary import Json
from service.crd.call_limits import CallLimits
from service.crd.hook_request import parse_json
from service.dtr.fhir_value_sets import ExpansionRequest, FhirValueSets
from service.errors import MalformedRequest, UnknownValueSet

LONGEST_FILTER = 200
"""Characters: each of its words is looked for in each name."""

_READ = frozenset({"url", "valueSetVersion", "filter", "count", "offset"})


class ValueSetExpansion:
    """The use case of $expand. `clock` gives the time with a time zone, `zone` that of a day."""

    def __init__(
        self,
        value_sets: FhirValueSets,
        clock: Callable[[], datetime],
        zone: tzinfo,
        limits: CallLimits,
    ) -> None:
        self.value_sets = value_sets
        self._clock = clock
        self._zone = zone
        self._limits = limits

    @property
    def now(self) -> datetime:
        return self._clock().astimezone(self._zone)

    def expand(self, given: Iterable[tuple[str, str]], set_id: str | None = None) -> Json:
        """The expansion of the value set of this id, else of the canonical `url` that is given.

        `given` are the parameters with their names, as written. Raises MalformedRequest (400) for
        a wrong one, UnknownValueSet (404), NotExpandable (422).
        """
        now, told = self.now, _once(given)
        if len(told.get("filter", "")) > LONGEST_FILTER:
            raise MalformedRequest(f"expected a filter of at most {LONGEST_FILTER} characters")
        if set_id is None:
            canonical = told.get("url", "")
            if not canonical:
                raise MalformedRequest("expected the parameter url: a value set's canonical")
            if told.get("valueSetVersion") and "|" not in canonical:
                canonical += f"|{told['valueSetVersion']}"
            set_id = self.value_sets.find(canonical, now.date())
        if set_id is None or not self.value_sets.has(set_id):
            raise UnknownValueSet("no value set of this canonical is on file here")
        asked = ExpansionRequest(
            told.get("filter", ""), _number(told, "count"), _number(told, "offset") or 0
        )
        return self.value_sets.expansion(set_id, now, asked)

    def expand_body(self, body: bytes, set_id: str | None = None) -> Json:
        """The same for the Parameters resource in `body`."""
        self._limits.check_values(body)
        data = parse_json(body)
        parameters = data.get("parameter", []) if isinstance(data, Mapping) else None
        if not isinstance(parameters, list) or data.get("resourceType") != "Parameters":
            raise MalformedRequest("expected a Parameters resource")
        return self.expand(map(_told, parameters), set_id)


def _once(given: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """The parameters by name; those that are read here may stand there once."""
    told: dict[str, str] = {}
    for name, value in given:
        if name in told and name in _READ:
            raise MalformedRequest(f"expected the parameter {name} once")
        told[name] = value
    return told


def _told(parameter: Any) -> tuple[str, str]:
    if not isinstance(parameter, Mapping):
        raise MalformedRequest("expected a parameter", "parameter")
    value = next((v for k, v in parameter.items() if k.startswith("value")), "")
    return str(parameter.get("name")), str(value)


def _number(told: Mapping[str, str], name: str) -> int | None:
    written = told.get(name)
    if written is None:
        return None
    if not (written.isascii() and written.isdecimal()) or len(written) > 9:
        raise MalformedRequest(f"expected a whole number for {name}")
    return int(written)
