"""Facts as a test tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from service.decision.facts import NOT_TOLD, ORDER_DAY, Fact, FactSpec

TODAY = date(2026, 6, 15)


@dataclass
class Told:
    """Facts by name; those that are not named are not told. `asked` counts what was asked for."""

    facts: Mapping[str, Fact]
    today: date = TODAY
    asked: list[str] = field(default_factory=list)

    def get(self, spec: FactSpec) -> Fact:
        self.asked.append(spec.name)
        if spec.name == ORDER_DAY:
            return self.facts.get(ORDER_DAY, Fact(self.today, ("occurrenceDateTime",)))
        return self.facts.get(spec.name, NOT_TOLD)
