"""Card groups: the orders that one policy covers under one coverage share their cards.

Few cards are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cards.naming import NamedService
from service.decision.determination import Determination
from service.decision.policy import PolicyDetermination, PolicyVersion
from service.response.form_filler import named_services


class CardGroup(NamedTuple):
    """Determinations that a policy made and that share their cards."""

    policy: PolicyVersion
    policy_determination: PolicyDetermination
    determinations: tuple[Determination, ...]

    @property
    def first(self) -> Determination:
        """Any of them: what the group shares is the same in each."""
        return self.determinations[0]

    @property
    def services(self) -> tuple[NamedService, ...]:
        """The services that the orders met, each once."""
        return named_services(self.determinations)

    @property
    def ordered_as(self) -> tuple[str, ...]:
        """What the orderers called the services, in their own words: untrusted."""
        return tuple(dict.fromkeys(d.order.name for d in self.determinations if d.order.name))

    @property
    def references(self) -> tuple[str, ...]:
        """The orders' references, or their places where they have no id."""
        return tuple(d.order.reference for d in self.determinations)

    @property
    def pointed_at(self) -> tuple[str, ...]:
        """The references that the EHR knows: an order without an id has none."""
        return tuple(r for r in self.references if pointed_at(r))


def pointed_at(label: str) -> str | None:
    """A label that is a reference ("Type/id"); None for a place or for words."""
    return label if "/" in label else None


def grouped(determinations: Iterable[Determination]) -> Iterator[CardGroup]:
    """Determinations that share their cards: same policy version, coverage and program."""
    groups: dict[object, list[Determination]] = {}
    for d in determinations:
        if d.policy is not None and d.policy_determination is not None:
            coverage = d.coverage.reference if d.coverage else d.finding.outcome
            version = (d.policy.id, d.policy.version)
            key = (version, coverage, d.program.program)
            groups.setdefault(key, []).append(d)
    for group in groups.values():
        policy, policy_determination = group[0].policy, group[0].policy_determination
        if policy is not None and policy_determination is not None:
            yield CardGroup(policy, policy_determination, tuple(group))
