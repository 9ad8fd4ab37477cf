"""Policy store: all versions in memory, indexed by code at the start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TypeVar

from service.decision.order import Code
from service.decision.policy import PolicyVersion

_CLINICAL = frozenset({"http://snomed.info/sct"})

K = TypeVar("K")
V = TypeVar("V")


class PolicyStore:
    """All versions of all policies; the decision's `Policies`.

    The cost of a look-up by code is independent of the number of policies.
    """

    def __init__(self, versions: Sequence[PolicyVersion]) -> None:
        self._versions = tuple(sorted(versions, key=lambda v: (v.id, v.starts)))
        by_id: dict[str, list[PolicyVersion]] = {}
        by_code: dict[Code, list[PolicyVersion]] = {}
        for version in self._versions:
            by_id.setdefault(version.id, []).append(version)
        for version in sorted(versions, key=lambda v: (v.starts, v.id)):
            for code in {s.code for s in version.services}:
                by_code.setdefault(code, []).append(version)
        self._by_id: Mapping[str, tuple[PolicyVersion, ...]] = _frozen(by_id)
        self._by_code: Mapping[Code, tuple[PolicyVersion, ...]] = _frozen(by_code)

    @property
    def clinical_systems(self) -> frozenset[str]:
        """The code systems that are never billed by."""
        return _CLINICAL

    def __iter__(self) -> Iterator[PolicyVersion]:
        """Every version, by policy and then by start."""
        return iter(self._versions)

    def versions_for(self, code: Code) -> Sequence[PolicyVersion]:
        """The versions of all policies with the code, oldest first."""
        return self._by_code.get(code, ())

    def ids(self) -> tuple[str, ...]:
        """The policies' ids, sorted."""
        return tuple(self._by_id)

    def versions(self, policy_id: str) -> tuple[PolicyVersion, ...]:
        """A policy's versions, oldest first; empty for an unknown policy."""
        return self._by_id.get(policy_id, ())

    def in_force(self, policy_id: str, day: date) -> PolicyVersion | None:
        """The version of a policy in force on `day`, or None."""
        return next((v for v in self.versions(policy_id) if v.in_force_on(day)), None)


def _frozen(lists: Mapping[K, list[V]]) -> Mapping[K, tuple[V, ...]]:
    return {key: tuple(values) for key, values in lists.items()}
