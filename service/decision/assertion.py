"""The coverage-assertion-id: the same facts and answer give the same id, from any instance.

It stands for: this EHR's order, its patient, coverage, codes and told day of service, the policy
version and the answer. Change one of them and the id changes. A day that the order does not tell
is left out: the answer given on Monday is the answer given on Tuesday while the policy stays.
"""

from __future__ import annotations

import hashlib

from service.decision.model import Determination


def coverage_assertion_id(determination: Determination, ehr: str) -> str:
    """The id as "cc" and 30 hexadecimal digits.

    `ehr` tells one EHR's "ServiceRequest/1" from another's: its FHIR base URL, or "" if not told.
    """
    d = determination
    told = d.day.source != "today"
    coverage = d.finding.coverage
    facts = (
        ehr.rstrip("/"),
        d.order.reference,
        d.order.patient or "",
        coverage.reference if coverage else "",
        " ".join(sorted(f"{c.system}|{c.value}" for c in d.billing_codes)),
        f"{d.day.earliest}/{d.day.latest}" if told else "",
        f"{d.policy.id}|{d.policy.version}" if d.policy else "",
        d.programme.programme.value,
        d.covered.value,
        d.gap.value if d.gap else "",
    )
    return "cc" + hashlib.sha256("\n".join(facts).encode()).hexdigest()[:30]
