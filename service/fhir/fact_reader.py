"""The facts of an order, read from FHIR: each with its place in the request, or why it is unknown.

One function a fact of the table, one a family of those that a policy declares. Each is read when it
is first asked for, and once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.decision.facts import Fact, FactSource, FactSpec, Family
from service.fhir.fact_readers import (
    answer_facts,
    care_facts,
    coverage_facts,
    earlier_facts,
    encounter_facts,
    order_facts,
    patient_facts,
)
from service.fhir.fact_readers.at_hand import OrderAtHand

READERS: Mapping[str, Callable[[OrderAtHand], Fact]] = {
    **order_facts.READERS,
    **patient_facts.READERS,
    **coverage_facts.READERS,
    **encounter_facts.READERS,
    **earlier_facts.READERS,
}
"""How each fact of the decision's table is read."""

_FAMILIES: Mapping[Family, Callable[[OrderAtHand, FactSpec, FactSource], Fact]] = {
    Family.OBSERVATION: care_facts.observation,
    Family.PROCEDURE: care_facts.procedure,
    Family.ORDER: care_facts.earlier_order,
    Family.ANSWER: answer_facts.answer,
}


@dataclass(slots=True)
class FhirFacts(OrderAtHand):
    """The decision's `Facts` of one order under one coverage."""

    def get(self, spec: FactSpec) -> Fact:
        """The fact with its value or the reason for which it is unknown; never an exception."""
        fact: Fact | None = self._kept.get(spec.name)
        if fact is None:
            source = spec.source
            if source is not None:
                fact = _FAMILIES[source.family](self, spec, source)
            else:
                fact = READERS[spec.name](self)
            self._kept[spec.name] = fact
        return fact
