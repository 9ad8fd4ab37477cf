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
    """Determinations of one policy that share their cards."""

    policy: PolicyVersion
    policy_determination: PolicyDetermination
    determinations: tuple[Determination, ...]

    @property
    def first(self) -> Determination:
        """The first of them; shared facts are the same in each."""
        return self.determinations[0]

    @property
    def services(self) -> tuple[NamedService, ...]:
        """The matched services of the orders, without duplicates."""
        return named_services(self.determinations)

    @property
    def ordered_as(self) -> tuple[str, ...]:
        """The services' names as ordered: untrusted text."""
        return tuple(dict.fromkeys(d.order.name for d in self.determinations if d.order.name))

    @property
    def references(self) -> tuple[str, ...]:
        """The orders' references, or places for those without an id."""
        return tuple(d.order.reference for d in self.determinations)

    @property
    def pointed_at(self) -> tuple[str, ...]:
        """The references known to the EHR: of orders with an id."""
        return tuple(r for r in self.references if pointed_at(r))


def pointed_at(label: str) -> str | None:
    """A label that is a reference ("Type/id"), else None."""
    return label if "/" in label else None


def grouped(determinations: Iterable[Determination]) -> Iterator[CardGroup]:
    """Groups of determinations with the same policy version, answer, coverage and program."""
    groups: dict[object, list[Determination]] = {}
    for d in determinations:
        if d.policy is not None and d.policy_determination is not None:
            coverage = d.coverage.reference if d.coverage else d.finding.outcome
            version = (d.policy.id, d.policy.version)
            key = (
                version,
                coverage,
                d.program.program,
                d.caveat,
                d.policy_determination,
                d.situations,
                d.decision,
            )
            groups.setdefault(key, []).append(d)
    for group in groups.values():
        policy, policy_determination = group[0].policy, group[0].policy_determination
        if policy is not None and policy_determination is not None:
            yield CardGroup(policy, policy_determination, tuple(group))
