"""Public data of a policy: the JSON of its page (42 CFR 422.101(b)(6))."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from cards.naming import NamedService, fill
from service.decision.policy import (
    Authority,
    Citation,
    PolicyDetermination,
    PolicyVersion,
    Program,
)
from service.policies.notices import Notice, NoticeLibrary
from service.policies.rules_in_words import codes_in_words, rules_in_words, value_sets_of

Document = dict[str, object]
PageUrl = Callable[[PolicyVersion], str]

PROGRAM_NAMES: Mapping[str, str] = {
    Program.MEDICARE_ADVANTAGE: "Medicare Advantage",
    Program.ORIGINAL_MEDICARE: "Original Medicare",
    Program.UNKNOWN: "Program not known",
    Program.NOT_MEDICARE: "Not Medicare",
}
"""Names, on pages and terminals, of the programs that policies have words for."""


def statement(policy: PolicyVersion, program: Program) -> str:
    """The policy's coverage statement for a program, about all of its services."""
    services = named_services(policy)
    return fill(policy.wording[program].statement, services)


def named_services(policy: PolicyVersion) -> tuple[NamedService, ...]:
    """All services of a policy, with their names in texts."""
    return tuple(NamedService(s.code.value, s.name, s.group_name) for s in policy.services)


def policy_summary(policy: PolicyVersion, today: date, url: PageUrl) -> Document:
    """One version in the list of policies: id, period, state and page."""
    return {
        "id": policy.id,
        "version": policy.version,
        "title": policy.title,
        "effective": {"start": policy.version, "end": _day(policy.ends)},
        "in_force_today": policy.in_force_on(today),
        "review": _review(policy, today),
        "url": url(policy),
    }


def policy_document(
    policy: PolicyVersion,
    versions: Sequence[PolicyVersion],
    notices: NoticeLibrary,
    on: date,
    today: date,
    url: PageUrl,
) -> Document:
    """The whole policy as in force `on` a day: plain values, dates ISO, absent values None.

    `versions` are all of the policy's, for its history; `url` gives a version's page.
    """
    return {
        **policy_summary(policy, today, url),
        "on": on.isoformat(),
        "manual": policy.manual,
        "published": policy.published.isoformat(),
        "owner": policy.owner,
        "approved": _approval(policy),
        "evidence": policy.evidence._asdict() if policy.evidence else None,
        "to_be_checked": list(policy.to_be_checked),
        "summary": policy.summary,
        "coverage": {
            program.value: {
                "covered": policy_determination.covered.value,
                "statement": statement(policy, program),
                "reason": {
                    "id": policy_determination.reason_id,
                    "text": policy_determination.reason,
                },
                "citations": [c.id for c in policy_determination.citations],
                "advance_notices": [
                    _notice(notices.edition(n, on), policy, program, on)
                    for n in policy.notices[program]
                ],
            }
            for program, policy_determination in policy.determinations.items()
        },
        "rules": [
            {
                "id": rule.id,
                "programs": [p.value for p in rule.programs],
                "when": rule.when,
                "covered": rule.outcome.covered.value,
                "prior_authorization": _authorization(rule.outcome),
                "forms": [form.form for form in rule.outcome.forms],
                "reason": {"id": rule.outcome.reason_id, "text": rule.outcome.reason},
                "citations": [c.id for c in rule.outcome.citations],
            }
            for rule in rules_in_words(policy)
        ],
        "value_sets": [
            {"id": s.id, "title": s.title, "codes": list(codes_in_words(s))}
            for s in value_sets_of(policy)
        ],
        "services": [
            {
                "system": s.code.system,
                "code": s.code.value,
                "name": s.name,
                "group": s.group,
                "group_name": s.group_name,
            }
            for s in policy.services
        ],
        "authorities": [_authority(a) for a in policy.authorities],
        "reservations": list(policy.reservations),
        "citations": [_citation(c) for c in policy.citations],
        "related": [c.id for c in policy.related],
        "ama_notice": policy.ama_notice,
        "versions": [policy_summary(v, today, url) for v in versions],
    }


def _authorization(outcome: PolicyDetermination) -> str | None:
    return outcome.prior_authorization.value if outcome.prior_authorization else None


def _approval(policy: PolicyVersion) -> Document | None:
    approved = policy.approved
    return {"by": approved.by, "on": approved.on.isoformat()} if approved else None


def _review(policy: PolicyVersion, today: date) -> Document:
    return {
        "last": policy.review_last,
        "next": policy.review_next,
        "overdue": policy.review_overdue_on(today),
    }


def _notice(notice: Notice, policy: PolicyVersion, program: Program, on: date) -> Document:
    reason, services = policy.reason_for_patient(program), named_services(policy)
    return {
        "id": notice.id,
        "title": notice.title,
        "form": notice.form,
        "edition": notice.edition,
        "effective": {"start": notice.starts.isoformat(), "end": _day(notice.ends)},
        "usable": notice.starts <= on and not notice.expired_on(on),
        "advice": [fill(a, services) for a in notice.advice_on(on, reason)],
        "links": [{"label": link.label, "url": link.url} for link in notice.links],
        "for_patients": notice.for_patients.model_dump() if notice.for_patients else None,
        "sources": [source.model_dump() for source in notice.sources],
        "to_be_checked": list(notice.to_be_checked),
    }


def _authority(authority: Authority) -> Mapping[str, object]:
    return {
        "level": authority.level,
        "name": authority.name,
        "found": authority.citation.id if authority.citation else None,
        "searched": authority.searched_where,
        "searched_when": authority.searched_when,
    }


def _citation(citation: Citation) -> Mapping[str, object]:
    return {
        "id": citation.id,
        "title": citation.title,
        "section": citation.section,
        "url": citation.url,
    }


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None
