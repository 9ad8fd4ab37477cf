"""A policy draft → the PolicyVersion that decisions are made with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from service.decision.policy import (
    Authority,
    Citation,
    Covered,
    PolicyDetermination,
    PolicyService,
    PolicyVersion,
    Program,
    Wording,
)
from service.policies.drafts import Draft, code_of


def policy_version(draft: Draft) -> PolicyVersion:
    """Build a version of a draft whose citations resolve (see lint.citations)."""
    data = draft.data
    citations = {c["id"]: Citation(**c) for c in data["citations"]}
    return PolicyVersion(
        id=data["id"],
        title=data["title"],
        manual=data["manual"],
        published=date.fromisoformat(data["published"]),
        starts=draft.starts,
        ends=draft.ends,
        review_last=data["review"]["last"],
        review_next=data["review"]["next"],
        summary=data["summary"],
        services=tuple(_services(data)),
        authorities=tuple(_authority(a, citations) for a in data["authorities"]),
        determinations={
            p: _policy_determination(data["determinations"][p], citations) for p in Program
        },
        notices={p: tuple(data["advance_notice"].get(p, ())) for p in Program},
        wording={p: Wording(**data["wording"][p]) for p in Program},
        reservations=tuple(data["reservations"]),
        related=tuple(citations[c] for c in data.get("related", ())),
        citations=tuple(citations.values()),
        ama_notice=data.get("ama_notice"),
    )


def _services(data: Mapping[str, Any]) -> Iterator[PolicyService]:
    for group in data["services"]:
        for entry in group["codes"]:
            yield PolicyService(code_of(entry), entry["name"], group["id"], group["name"])


def _authority(entry: Mapping[str, Any], citations: Mapping[str, Citation]) -> Authority:
    level, name = entry["level"], entry["name"]
    if "found" in entry:
        return Authority(level, name, citation=citations[entry["found"]])
    searched = entry["none_found"]
    return Authority(
        level, name, searched_where=searched["searched"], searched_when=searched["when"]
    )


def _policy_determination(
    entry: Mapping[str, Any], citations: Mapping[str, Citation]
) -> PolicyDetermination:
    reason = entry["reason"]
    return PolicyDetermination(
        covered=Covered(entry["covered"]),
        reason_id=reason["id"],
        reason=reason["text"],
        citations=tuple(citations[c] for c in reason["citations"]),
        for_patient=reason.get("for_patient"),
    )
