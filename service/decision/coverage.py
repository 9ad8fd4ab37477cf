"""The one relevant coverage of an order: chosen by order, beneficiary, status and period.

Never "the first one": where more than one fits, none is picked and the outcome says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.decision.model import (
    Coverage,
    CoverageFinding,
    CoverageOutcome,
    Order,
    ServiceDay,
)


def choose_coverage(
    coverages: Sequence[Coverage], order: Order, patient: str, day: ServiceDay
) -> CoverageFinding:
    """The coverage that counts for `order` on `day`.

    `patient` is the context's patient as "Patient/id". A coverage that names no beneficiary, status
    or period is not ruled out by that; one that contradicts is.
    """
    named = [c for c in coverages if c.reference in order.insurance]
    if coverages and order.insurance and not named:
        return CoverageFinding(
            CoverageOutcome.NOT_AT_HAND, "the order names a coverage that is not at hand"
        )
    candidates = named or list(coverages)
    if not candidates:
        return CoverageFinding(CoverageOutcome.NONE, "no coverage came with the call")
    own = [c for c in candidates if c.beneficiary in (None, patient)]
    if not own:
        return CoverageFinding(
            CoverageOutcome.OTHER_PATIENT, "every coverage names another beneficiary"
        )
    active = [c for c in own if c.status in (None, "active") and _spans(c, day)]
    if not active:
        return CoverageFinding(
            CoverageOutcome.NOT_ACTIVE,
            f"none of {len(own)} is active on {day.earliest}",
            own[0] if len(own) == 1 else None,
        )
    if len(active) > 1:
        return CoverageFinding(
            CoverageOutcome.SEVERAL, f"{len(active)} active coverages fit the order"
        )
    chosen = active[0]
    how = "named by the order" if named else "the only active one of this patient"
    return CoverageFinding(CoverageOutcome.FOUND, f"{chosen.reference}: {how}", chosen)


def _spans(coverage: Coverage, day: ServiceDay) -> bool:
    starts_in_time = coverage.starts is None or coverage.starts <= day.latest
    ends_late_enough = coverage.ends is None or coverage.ends >= day.earliest
    return starts_in_time and ends_late_enough
