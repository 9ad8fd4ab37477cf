"""ValueSets of the policies' value sets: definition, and expansion as of a day ($expand)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import NAMESPACE_URL, uuid5

from cards.vocabulary import Json
from service.decision.order import Code
from service.errors import NotExpandable
from service.policies.value_set_files import NamedSet

CANONICAL_BASE = "https://covercard.example/fhir/ValueSet"
"""Before the id in a value set's canonical; the name is reserved and resolves nowhere."""
EXPANDED_BELOW = 40
"""Codes: a smaller ValueSet comes expanded in a package (DTR 2.2 oper-15)."""
MOST_CODES = 10_000
"""Codes of one answer without `count`."""

_NAMESPACE = uuid5(NAMESPACE_URL, CANONICAL_BASE)


@dataclass(frozen=True, slots=True)
class ExpansionRequest:
    """The part of a ValueSet that is asked for: codes that fit `filter`, from `offset` on."""

    filter: str = ""
    count: int | None = None
    offset: int = 0


class FhirValueSets:
    """The value sets on file as FHIR ValueSets; `named` are they by id."""

    def __init__(self, named: Mapping[str, NamedSet]) -> None:
        self._named = named

    def find(self, canonical: str, day: date) -> str | None:
        """The id of the value set of a canonical; None without one, or in another version."""
        url, _, version = canonical.partition("|")
        base, _, set_id = url.rpartition("/")
        if base != CANONICAL_BASE or set_id not in self._named:
            return None
        return set_id if version in ("", self.version(set_id, day)) else None

    def has(self, set_id: str) -> bool:
        return set_id in self._named

    def version(self, set_id: str, day: date) -> str:
        """The day from which the value set has been what it is on `day`."""
        edges = self._named[set_id].codes.edges
        begun = [edge for edge in edges if edge <= day]
        return (begun[-1] if begun else edges[0] if edges else date.min).isoformat()

    def definition(self, set_id: str, day: date) -> Json:
        """The ValueSet without its codes, which $expand gives."""
        title = self._named[set_id].codes.title
        return {
            "resourceType": "ValueSet",
            "id": set_id,
            "url": f"{CANONICAL_BASE}/{set_id}",
            "version": self.version(set_id, day),
            "name": "".join(word.capitalize() for word in set_id.split("-")),
            "title": title,
            "status": "active",
        }

    def is_small(self, set_id: str, day: date) -> bool:
        """Whether the value set comes expanded in a package."""
        codes = self._named[set_id].codes
        if next(codes.spans_on(day), None) is not None:
            return False
        return sum(1 for _ in codes.codes_on(day)) < EXPANDED_BELOW

    def expansion(
        self, set_id: str, now: datetime, asked: ExpansionRequest = ExpansionRequest()
    ) -> Json:
        """The ValueSet with the codes that are active on the day of `now`, which has a time zone.

        Raises NotExpandable for a value set with prefixes or ranges, and for more codes than one
        answer may hold.
        """
        named, day = self._named[set_id], now.date()
        if next(named.codes.spans_on(day), None) is not None:
            raise NotExpandable("it holds prefixes or ranges of codes, which are not listed")
        found = list(_fitting(sorted(named.codes.codes_on(day)), named, asked.filter.lower()))
        if asked.count is None and len(found) > MOST_CODES:
            raise NotExpandable(f"more than {MOST_CODES} codes: ask for them by count and offset")
        end = len(found) if asked.count is None else asked.offset + asked.count
        version = self.version(set_id, day)
        expansion: Json = {
            "identifier": f"urn:uuid:{uuid5(_NAMESPACE, f'{set_id}|{version}|{day}')}",
            "timestamp": now.isoformat(timespec="seconds"),
            "total": len(found),
            "offset": asked.offset,
            "parameter": list(_parameters(asked)),
        }
        contains = [_contained(code, named) for code in found[asked.offset : end]]
        if contains:
            expansion["contains"] = contains
        return {**self.definition(set_id, day), "expansion": expansion}


def _fitting(codes: Iterable[Code], named: NamedSet, wanted: str) -> Iterator[Code]:
    """The codes that begin with the filter, or whose name has every word of it."""
    words = frozenset(wanted.split())
    for code in codes:
        name = named.names.get(code, "").lower()
        if code.value.lower().startswith(wanted) or all(word in name for word in words):
            yield code


def _contained(code: Code, named: NamedSet) -> Json:
    made: Json = {"system": code.system, "code": code.value}
    if code in named.names:
        made["display"] = named.names[code]
    return made


def _parameters(asked: ExpansionRequest) -> Iterator[Json]:
    yield {"name": "activeOnly", "valueBoolean": True}
    if asked.filter:
        yield {"name": "filter", "valueString": asked.filter}
    if asked.count is not None:
        yield {"name": "count", "valueInteger": asked.count}
    if asked.offset:
        yield {"name": "offset", "valueInteger": asked.offset}
