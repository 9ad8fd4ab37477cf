"""The coverage-assertion-id: the same facts and answer give the same id, from any instance.

It stands for: this EHR's order, its patient, coverage, codes and told day of service, the policy
version and the answer. Change one of them and the id changes. A day that the order does not tell
is left out: the answer given on Monday is the answer given on Tuesday while the policy stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from service.decision.determination import Determination
from service.decision.order import Order, ServiceDay

_OURS = re.compile(r"cc[0-9a-f]{30}")


def coverage_assertion_id(determination: Determination, ehr: str, said: Sequence[str]) -> str:
    """The id as "cc" and 30 hexadecimal digits.

    `ehr` tells one EHR's "ServiceRequest/1" from another's: its FHIR base URL, or "" if not told.
    `said` is what the coverage information says beyond the determination: the answer as stated, the
    gap, the forms asked for. A hook that asks for no form thus asserts something else than one that
    does.
    """
    d = determination
    told = d.order.service_day
    coverage = d.finding.coverage
    facts = (
        ehr.rstrip("/"),
        d.order.reference,
        d.order.patient or "",
        coverage.reference if coverage else "",
        " ".join(sorted(f"{c.system}|{c.value}" for c in d.billing_codes)),
        # Of an open period the written days: those that count move on with today.
        _written(told) if told else "",
        f"{d.policy.id}|{d.policy.version}" if d.policy else "",
        d.program.program.value,
        *said,
    )
    return "cc" + hashlib.sha256("\n".join(facts).encode()).hexdigest()[:30]


def _written(day: ServiceDay) -> str:
    is_open = day.open_start or day.open_end
    return str(day) if is_open else f"{day.earliest}/{day.latest}"


def replaced_assertion(order: Order, coverage: str, assertion_id: str) -> str | None:
    """The id of our older coverage information that `assertion_id` takes the place of.

    It is the one that the order carries on this coverage; None if it carries none, or this one.
    """
    ids = [s.assertion_id or "" for s in order.coverage_information if s.coverage == coverage]
    older = [i for i in ids if _OURS.fullmatch(i) and i != assertion_id]
    return older[-1] if older and assertion_id not in ids else None
