"""Cases: sentences about what a policy answers, run against the decision core itself.

A case is an order, a coverage and a day, and what is expected. It holds no patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from service.decision.coverage import Coverage, CoverageFinding, CoverageOutcome, Payer, PolicyLink
from service.decision.determination import Determination
from service.decision.evaluate import evaluate
from service.decision.order import Code, Order, OrderCoding, ServiceDay
from service.decision.policy import Policies, Program
from service.decision.programs import SOURCE_OF_PAYMENT
from service.fhir.systems import CPT, canonical_code
from service.policies import files
from service.policies.drafts import CASES, SYSTEMS
from service.policies.files import LibraryFile

_PATIENT = "Patient/of-the-case"
_PLACE = "the case"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a case expects. None is "not told", except for `undetermined`: there it means no gap.

    `matched` are code values and `notices` ids, both in order.
    """

    covered: str
    undetermined: str | None
    program: str | None
    policy: str | None
    version: str | None
    notices: tuple[str, ...] | None
    matched: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a policy: what is decided, on which day, and what is expected.

    `policy` is the folder that the case stands in: its payer applies this policy and no other.
    """

    policy: str
    it: str
    on: date
    order: Order
    finding: CoverageFinding
    emergency: bool
    expect: Expectation

    @property
    def codes(self) -> frozenset[Code]:
        """The order's readable codes."""
        return frozenset(c.code for c in self.order.codings if c.code)

    @property
    def day(self) -> date | None:
        """The one day of service, or None where the order leaves it open."""
        if self.order.service_day is None:
            return self.on
        first, last = self.order.service_day.earliest, self.order.service_day.latest
        return first if first == last else None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case as it went; `differences` say what was expected and what came, empty if it passed."""

    case: Case
    determination: Determination
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.differences


def load_cases(folder: Path) -> list[Case]:
    """The cases of the policy in `folder`. Raises LibraryError if its cases.yaml is wrong."""
    return cases_in(files.load(folder / CASES, "cases"))


def cases_in(file: LibraryFile) -> list[Case]:
    """The cases in a cases.yaml that fits its schema."""
    return [_case(file.path.parent.name, entry) for entry in file.data["cases"]]


def run_case(case: Case, policies: Policies) -> CaseResult:
    """Decide the case's order and hold the determination against what is expected."""
    determination = evaluate(
        case.order,
        case.finding,
        today=case.on,
        policies=policies,
        patient=_PATIENT,
        emergency=case.emergency,
    )
    return CaseResult(case, determination, tuple(_differences(case.expect, determination)))


def _differences(expect: Expectation, got: Determination) -> Iterator[str]:
    policy = got.policy
    pairs: Mapping[str, tuple[object, object]] = {
        "covered": (expect.covered, got.covered.value),
        "undetermined": (
            expect.undetermined or "none",
            got.undetermined.value if got.undetermined else "none",
        ),
        "program": (expect.program, got.program.program.value),
        "policy": (expect.policy, policy.id if policy else "none"),
        "version": (expect.version, policy.version if policy else "none"),
        "notices": (expect.notices, got.notices),
        "matched": (expect.matched, tuple(s.code.value for s in got.matched)),
    }
    for name, (wanted, came) in pairs.items():
        if wanted is not None and wanted != came:
            yield f"{name}: expected {_words(wanted)}, got {_words(came)}"


def _words(value: object) -> str:
    return (", ".join(value) or "nothing") if isinstance(value, tuple) else str(value)


def _case(policy: str, entry: Mapping[str, Any]) -> Case:
    expect = entry["expect"]
    return Case(
        policy=policy,
        it=entry["it"],
        on=date.fromisoformat(entry["on"]),
        order=_order(entry["order"]),
        finding=_finding(policy, entry["coverage"]),
        emergency=entry.get("emergency", False),
        expect=Expectation(
            covered=expect["covered"],
            undetermined=expect.get("undetermined"),
            program=expect.get("program"),
            policy=expect.get("policy"),
            version=expect.get("version"),
            notices=tuple(expect["notices"]) if "notices" in expect else None,
            matched=tuple(expect["matched"]) if "matched" in expect else None,
        ),
    )


def _order(entry: Mapping[str, Any]) -> Order:
    return Order(
        reference="ServiceRequest/of-the-case",
        place=_PLACE,
        codings=tuple(_coding(i, c) for i, c in enumerate(entry["codes"])),
        name=entry.get("name"),
        service_day=_service_day(entry.get("service_date")),
        status="draft",
        intent="order",
        patient="Patient/somebody-else" if entry.get("for_another_patient") else _PATIENT,
    )


def _coding(index: int, written: str | Mapping[str, str]) -> OrderCoding:
    if isinstance(written, str):
        system, code = CPT, written
    else:
        system, code = written.get("system", ""), written.get("code", "")
        system = SYSTEMS.get(system, system)
    place = f"{_PLACE}.order.codes[{index}]"
    return OrderCoding(canonical_code(system, code), place, f"{system}|{code}")


def _service_day(written: str | Mapping[str, str] | None) -> ServiceDay | None:
    if written is None:
        return None
    if isinstance(written, str):
        day = date.fromisoformat(written)
        return ServiceDay(day, day, "service_date")
    first, last = date.fromisoformat(written["from"]), date.fromisoformat(written["to"])
    return ServiceDay(first, last, "service_date")


def _finding(policy: str, written: str | Mapping[str, Any]) -> CoverageFinding:
    if isinstance(written, str):
        return CoverageFinding(CoverageOutcome(written), _PLACE)
    types = written.get("type", [])
    told = written.get("payer", "ours")
    coverage = Coverage(
        reference="Coverage/of-the-case",
        place=_PLACE,
        payer=_payer(policy, written) if told == "ours" else None,
        payer_told=told != "not_told",
        type_codes=tuple(
            Code(SOURCE_OF_PAYMENT, t) for t in ([types] if isinstance(types, str) else types)
        ),
        status="active",
        beneficiary=_PATIENT,
    )
    return CoverageFinding(CoverageOutcome.FOUND, _PLACE, coverage)


def _payer(policy: str, written: Mapping[str, Any]) -> Payer:
    return Payer(
        system="urn:oid:2.999.7.1",
        identifier="payer-of-the-case",
        name="Payer of the Case",
        line_of_business=Program(written.get("line_of_business", Program.UNKNOWN)),
        policies=(PolicyLink(policy),),
    )
