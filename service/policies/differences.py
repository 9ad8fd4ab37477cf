"""Differences between two versions of a policy, by statement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from service.decision.policy import Authority, Citation, PolicyVersion
from service.policies.rules_in_words import rules_in_words


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One added, removed or reworded statement.

    `section` is "title", "summary", "coverage", "rules", "wording", "services", "authorities",
    "reason", "for-patient", "evidence", "advance-notice", "reservations", "citations", "owner",
    "approved", "to-be-checked" or "review"; `item` is what within it (a code, a program, a
    citation's id), "" where the section is one text. `before` is None for what was added, `after`
    for what was removed.
    """

    section: str
    item: str
    before: str | None
    after: str | None


def differences(older: PolicyVersion, newer: PolicyVersion) -> tuple[PolicyChange, ...]:
    """Every change from `older` to `newer`, in the order of a policy's page."""
    before, after = dict(_statements(older)), dict(_statements(newer))
    places = [*after, *(place for place in before if place not in after)]
    order = list(dict.fromkeys(section for section, _ in [*before, *after]))
    changed = [p for p in places if before.get(p) != after.get(p)]
    changed.sort(key=lambda place: order.index(place[0]))
    return tuple(PolicyChange(*place, before.get(place), after.get(place)) for place in changed)


def _statements(version: PolicyVersion) -> Iterator[tuple[tuple[str, str], str]]:
    """All statements of a version, with section and item."""
    yield ("title", ""), version.title
    yield ("summary", ""), version.summary
    for program, policy_determination in version.determinations.items():
        yield ("coverage", program), policy_determination.covered.value
    for rule in rules_in_words(version):
        yield ("rules", rule.id), f"{rule.when}: {rule.outcome.covered.value}"
    for program, wording in version.wording.items():
        yield ("wording", program), wording.statement
    for service in version.services:
        yield ("services", service.code.value), f"{service.name} ({service.group_name})"
    for authority in version.authorities:
        yield ("authorities", authority.name), _found(authority)
    for program, policy_determination in version.determinations.items():
        yield ("reason", program), policy_determination.reason
    for program, policy_determination in version.determinations.items():
        if policy_determination.for_patient:
            yield ("for-patient", program), policy_determination.for_patient
    if version.evidence:
        yield ("evidence", "summary"), version.evidence.summary
        yield ("evidence", "rationale"), version.evidence.rationale
    for program, notices in version.notices.items():
        yield ("advance-notice", program), ", ".join(notices) or "none"
    for reservation in version.reservations:
        yield ("reservations", reservation), reservation
    for citation in version.citations:
        yield ("citations", citation.id), cited(citation)
    if version.owner:
        yield ("owner", ""), version.owner
    if version.approved:
        yield ("approved", ""), f"{version.approved.by}, {version.approved.on}"
    for sentence in version.to_be_checked:
        yield ("to-be-checked", sentence), sentence
    yield ("review", "last"), version.review_last
    yield ("review", "next"), version.review_next
    yield ("review", "when overdue"), version.when_overdue.value


def _found(authority: Authority) -> str:
    if authority.citation:
        return cited(authority.citation)
    return f"none found ({authority.searched_where}, {authority.searched_when})"


def cited(citation: Citation) -> str:
    """A citation in one line: title, section, address."""
    return ", ".join(filter(None, (citation.title, citation.section, citation.url)))
