"""Coverage assertion id: the same facts and answer give the same id, on any instance.

It is a hash of the client, the EHR's order, its patient, coverage, codes and stated day of service,
the policy version and the answer. A day that the order does not state is excluded: Monday's answer
is Tuesday's while the policy stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from service.decision.determination import Determination
from service.decision.order import Code, Order, ServiceDay

_OURS = re.compile(r"cc[0-9a-f]{30}")


def coverage_assertion_id(
    determination: Determination,
    expressions: Sequence[Code],
    client: str,
    ehr: str,
    said: Sequence[str],
) -> str:
    """The id as "cc" and 30 hexadecimal digits.

    `expressions` are the determination's billing expressions.
    `client` is the name of the calling client, or "" where callers are not told apart; `ehr`, the
    EHR's FHIR base URL, or "": two clients or EHRs may have orders with equal ids. `said` is the
    content of the coverage information beyond the determination: stated answer, reason without a
    determination, requested forms. Hooks with and without forms thus assert different ids.
    """
    d = determination
    told = d.order.service_day
    coverage = d.finding.coverage
    facts = (
        *((f"client {client}",) if client else ()),
        ehr.rstrip("/"),
        d.order.reference,
        d.order.patient or "",
        coverage.reference if coverage else "",
        " ".join(sorted([f"{c.system}|{c.value}" for c in expressions])),
        # The written days of an open period: the effective ones move with today.
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
    """The id of this service's older coverage information, replaced by `assertion_id`.

    It is the order's existing one on this coverage; None without one, or if it is the same.
    """
    ids = [s.assertion_id or "" for s in order.coverage_information if s.coverage == coverage]
    older = [i for i in ids if _OURS.fullmatch(i) and i != assertion_id]
    return older[-1] if older and assertion_id not in ids else None
