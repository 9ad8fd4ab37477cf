"""Policy cases: example orders with their expected answers, run by the decision core.

A case is an order, a coverage, a day and an expectation, without a patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AliasChoices, BeforeValidator, Field, PlainValidator

from cards.texts.placeholders import wrong
from service.decision.coverage import (
    Coverage,
    CoverageFinding,
    CoverageOutcome,
    Payer,
    PolicyLink,
    choose_coverage,
)
from service.decision.determination import Caveat, Determination, UndeterminedReason
from service.decision.evaluate import (
    day_fact,
    evaluate,
    last_day_fact,
    service_day,
)
from service.decision.facts import LAST_DAY, NOT_TOLD, ORDER_DAY, Fact, FactSpec, Why
from service.decision.order import Code, Order, OrderCoding, ServiceDay
from service.decision.policy import Covered, Policies, Program
from service.decision.programs import SOURCE_OF_PAYMENT, ProgramTable
from service.decision.situations import NO_SITUATIONS
from service.fhir.systems import split_code
from service.policies import files
from service.policies.code_tokens import CODE_SYSTEMS
from service.policies.condition_models import FactName, fact_value
from service.policies.fields import (
    Day,
    Id,
    Model,
    ProgramName,
    Several,
    Some,
    Text,
    Told,
    Write,
    day_written,
    text_only,
)
from service.policies.notices import NoticeLibrary
from service.policies.policy_store import PolicyStore
from service.policies.program_table import ProgramId, programs_of

CASES = "cases.yaml"

_PATIENT = "Patient/of-the-case"
_PLACE = "the case"

CoverageWord = Literal["none", "several", "not_active", "other_patient", "unreachable"]
"""Outcomes of the coverage selection without a single coverage."""


class CaseCode(Model):
    """A code of the order, in any system; an empty coding if system or code is absent."""

    system: Annotated[
        Told[Annotated[str, Field(pattern=r"^(cpt|hcpcs|\S+:\S+)$")]],
        Write("cpt, hcpcs, or the address of another system"),
    ] = None
    code: Told[Text] = None

    def coding(self, place: str) -> OrderCoding:
        system = CODE_SYSTEMS.get(self.system or "", self.system or "")
        code = self.code or ""
        meant, modifiers = split_code(system, code)
        return OrderCoding(meant, place, f"{system}|{code}", modifiers)


class CaseDays(Model):
    """The days of service, both inclusive."""

    first: Day = Field(alias="from")
    last: Day = Field(alias="to")


def _code(written: object) -> CaseCode:
    """A coding of a CPT code as text, or of a mapping."""
    if not isinstance(text_only(written), str):
        return CaseCode.model_validate(written)
    if not str(written).strip():
        raise wrong("the code is empty", "write a CPT code as text, or a mapping")
    return CaseCode(system="cpt", code=str(written))


def _days(written: object) -> CaseDays:
    if isinstance(text_only(written), str):
        day = day_written(written)
        return CaseDays.model_construct(first=day, last=day)
    return CaseDays.model_validate(written)


def _types(written: object) -> object:
    return [written] if isinstance(text_only(written), str) else written


class CaseOrder(Model):
    """The order of a case."""

    codes: Several[
        Annotated[CaseCode, PlainValidator(_code, json_schema_input_type=Text | CaseCode)]
    ] = Field(description="Each a CPT code as text, or a mapping of system and code.")
    service_date: Told[
        Annotated[CaseDays, PlainValidator(_days, json_schema_input_type=Day | CaseDays)]
    ] = Field(None, description="The day of service, or from and to; the case's own if left out.")
    name: Told[Text] = Field(None, description="What the orderer calls it.")
    for_another_patient: bool = Field(False, description="The order is another patient's.")

    def order(self) -> Order:
        days = self.service_date
        return Order(
            reference="ServiceRequest/of-the-case",
            place=_PLACE,
            codings=tuple(c.coding(f"{_PLACE}.order.codes[{i}]") for i, c in enumerate(self.codes)),
            name=self.name,
            service_day=ServiceDay(days.first, days.last, "service_date") if days else None,
            status="draft",
            intent="order",
            patient="Patient/somebody-else" if self.for_another_patient else _PATIENT,
        )


class CaseCoverage(Model):
    """A coverage of the case; there may be several."""

    type: Annotated[
        Some[Text],
        BeforeValidator(_types, json_schema_input_type=Text | Some[Text]),
        Write("Source of Payment codes, quoted"),
    ] = Field((), description="Coverage.type: Source of Payment codes, quoted.")
    line_of_business: ProgramId = Field(
        Program.UNKNOWN.value, description="What the payers file says of the payer."
    )
    programs: Told[Some[ProgramId]] = Field(
        None, description="The programs that the payer speaks of by the policy, as in its entry."
    )
    plan: Told[Text] = Field(None, description="Coverage.class: the plan.")
    group: Told[Text] = Field(None, description="Coverage.class: the group.")
    payer: Literal["ours", "unknown", "not_told"] = "ours"
    order: Told[Annotated[int, Field(ge=1)]] = Field(
        None, description="Coverage.order: 1 pays first."
    )
    period: Told[CaseDays] = Field(None, description="When it is in force.")
    status: Text = "active"
    of_another_patient: bool = False

    @property
    def classes(self) -> Mapping[str, str]:
        """The facts of Coverage.class, by name."""
        told = {"coverage.plan": self.plan, "coverage.group": self.group}
        return {name: value for name, value in told.items() if value is not None}

    def coverage(self, policy: str, programs: ProgramTable, number: int = 0) -> Coverage:
        payer = self._payer(policy) if self.payer == "ours" else None
        types = tuple(Code(SOURCE_OF_PAYMENT, t) for t in self.type)
        facts = _OfACoverage(types, self.classes)
        told = (
            programs.find(types, payer.line_of_business, payer.names, payer.identifier, facts)
            if payer
            else programs.find(types, facts=facts)
        )
        return Coverage(
            reference=_reference(number),
            place=_PLACE,
            payer=payer,
            payer_told=self.payer != "not_told",
            type_codes=types,
            status=self.status,
            starts=self.period.first if self.period else None,
            ends=self.period.last if self.period else None,
            beneficiary="Patient/somebody-else" if self.of_another_patient else _PATIENT,
            program=told,
            order=self.order,
        )

    def _named(self) -> frozenset[str] | None:
        return frozenset(self.programs) if self.programs is not None else None

    def _payer(self, policy: str) -> Payer:
        return Payer(
            system="urn:oid:2.999.7.1",
            identifier="payer-of-the-case",
            name="Payer of the Case",
            line_of_business=self.line_of_business,
            policies=(PolicyLink(policy, programs=self._named()),),
        )


def _reference(number: int) -> str:
    return f"Coverage/of-the-case-{number}" if number else "Coverage/of-the-case"


@dataclass(frozen=True, slots=True)
class _OfACoverage:
    """The facts that a case's coverage tells by itself, for the table of programs."""

    types: tuple[Code, ...]
    classes: Mapping[str, str]

    @property
    def today(self) -> date:
        return date.min

    def get(self, spec: FactSpec) -> Fact:
        if spec.name == ORDER_DAY:
            return Fact(self.today)
        if spec.name == "coverage.type" and self.types:
            return Fact(frozenset(self.types), (f"{_PLACE}.coverage.type",))
        told = self.classes.get(spec.name)
        return Fact(told, (f"{_PLACE}.coverage",)) if told is not None else NOT_TOLD


def _coverage(written: object) -> CoverageOutcome | tuple[CaseCoverage, ...]:
    if isinstance(written, list):
        return tuple(CaseCoverage.model_validate(each) for each in written)
    if not isinstance(written, str):
        return (CaseCoverage.model_validate(written),)
    if written not in get_args(CoverageWord):
        words = ", ".join(get_args(CoverageWord))
        raise wrong(f"{written!r} is not known here", f"use one of {words}, or a mapping")
    return CoverageOutcome(written)


class Expectation(Model):
    """The expectation of a case; an absent field is not compared, except for `undetermined`.

    `matched` are code values and `notices` ids, both in order.
    """

    covered: Covered = Field(strict=False)
    undetermined: Told[Annotated[UndeterminedReason, Field(strict=False)]] = Field(
        None,
        validation_alias=AliasChoices("undetermined", "gap"),
        description="Why no policy answers; left out, one does.",
    )
    caveat: Told[Annotated[Caveat, Field(strict=False)]] = Field(
        None, description="Why the policy does not settle the order; left out, it does."
    )
    program: Told[ProgramName] = Field(None, validation_alias=AliasChoices("program", "programme"))
    policy: Told[Id] = None
    version: Told[Day] = Field(None, description="The version's first effective day.")
    notices: Told[Several[Id]] = None
    situations: Told[Several[Id]] = Field(
        None, description="Ids of the situations of notices that hold."
    )
    matched: Told[Several[Text]] = None
    reason: Told[Id] = Field(None, description="The id of the reason.")
    prior_authorization: Told[Text] = Field(None, description="A code of CRD's pa-needed, or none.")
    missing: Told[Several[FactName]] = Field(
        None, description="The smallest set of facts that would settle it."
    )
    forms: Told[Several[Id]] = Field(None, description="The forms that are asked for.")


FactValue = bool | int | float | Text | Several[Text]


class CaseEntry(Model):
    """One case of a policy."""

    it: Text = Field(description="The sentence.")
    on: Day = Field(description="The day on which the order is looked at.")
    order: CaseOrder
    coverage: Annotated[
        CoverageOutcome | tuple[CaseCoverage, ...],
        PlainValidator(
            _coverage, json_schema_input_type=CoverageWord | CaseCoverage | list[CaseCoverage]
        ),
    ]
    emergency: bool = False
    facts: dict[FactName, FactValue] = Field(
        {},
        description="What is known beside the order's codes and day: codes as in conditions, an "
        'age in years, "88 %", a day or "30 days before service", none for what there is none of.',
    )
    expect: Expectation

    def case(self, policy: str, programs: ProgramTable) -> Case:
        order = self.order.order()
        finding = self._finding(policy, order, programs)
        urgency = {"care.urgency": "emergency"} if self.emergency else {}
        return Case(
            policy=policy,
            it=self.it,
            on=self.on,
            order=order,
            finding=finding,
            facts={**urgency, **self._classes(finding), **self.facts},
            expect=self.expect,
        )

    def _finding(self, policy: str, order: Order, programs: ProgramTable) -> CoverageFinding:
        """The coverage that counts, chosen as for a call in CRD 2.0."""
        if isinstance(self.coverage, CoverageOutcome):
            return CoverageFinding(self.coverage, _PLACE)
        coverages = [c.coverage(policy, programs, i) for i, c in enumerate(self.coverage)]
        day = service_day(order, self.on)
        return choose_coverage(coverages, order, _PATIENT, day, others_count=False)

    def _classes(self, finding: CoverageFinding) -> Mapping[str, str]:
        """Plan and group of the coverage that counts."""
        if finding.coverage is None or isinstance(self.coverage, CoverageOutcome):
            return {}
        counts = finding.coverage.reference
        return next(c.classes for i, c in enumerate(self.coverage) if _reference(i) == counts)


class CasesFile(Model):
    """The cases of a policy: <id>/cases.yaml"""

    cases: Some[CaseEntry]

    def of(self, policy: str, programs: ProgramTable) -> list[Case]:
        """The cases, of the policy in this folder, by the library's table of programs."""
        return [entry.case(policy, programs) for entry in self.cases]


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a policy, ready to run.

    `policy` is its folder; the case's payer applies this policy only.
    """

    policy: str
    it: str
    on: date
    order: Order
    finding: CoverageFinding
    expect: Expectation
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def codes(self) -> frozenset[Code]:
        """The order's readable codes."""
        return frozenset(c.code for c in self.order.codings if c.code)

    @property
    def day(self) -> date | None:
        """The single day of service, or None."""
        if self.order.service_day is None:
            return self.on
        first, last = self.order.service_day.earliest, self.order.service_day.latest
        return first if first == last else None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Result of a case; `differences` between expectation and answer, empty if it passed."""

    case: Case
    determination: Determination
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.differences


def load_cases(folder: Path) -> list[Case]:
    """The cases of the policy in `folder`, by the programs of its library.

    Raises LibraryError for a wrong cases.yaml or programs.yaml.
    """
    return files.load(folder / CASES, CasesFile).data.of(folder.name, programs_of(folder.parent))


def run_case(case: Case, policies: Policies, notices: NoticeLibrary | None = None) -> CaseResult:
    """Decide the case's order and compare the determination with the expectation.

    Without `notices` every notice is given in every situation.
    """
    determination = evaluate(
        case.order,
        case.finding,
        today=case.on,
        policies=policies,
        patient=_PATIENT,
        situations=notices.situations(case.on) if notices else NO_SITUATIONS,
        facts=CaseFacts(case),
    )
    return CaseResult(case, determination, tuple(_differences(case.expect, determination)))


def run_all_cases(
    folders: Iterable[Path], policies: PolicyStore, notices: NoticeLibrary | None = None
) -> list[CaseResult]:
    """Each case of each policy of these folders. Raises LibraryError for a wrong cases.yaml."""
    ids = policies.ids()
    return [
        run_case(case, policies, notices)
        for folder in folders
        for policy_id in ids
        if (folder / policy_id / CASES).is_file()
        for case in load_cases(folder / policy_id)
    ]


def _differences(expect: Expectation, got: Determination) -> Iterator[str]:
    policy = got.policy
    pairs: Mapping[str, tuple[object, object]] = {
        "covered": (expect.covered.value, got.covered.value),
        "undetermined": (
            expect.undetermined or "none",
            got.undetermined.value if got.undetermined else "none",
        ),
        "caveat": (expect.caveat or "none", got.caveat.value if got.caveat else "none"),
        "program": (expect.program, got.program.program.value),
        "policy": (expect.policy, policy.id if policy else "none"),
        "version": (
            expect.version and expect.version.isoformat(),
            policy.version if policy else "none",
        ),
        "notices": (expect.notices, got.notices),
        "situations": (
            expect.situations,
            tuple(dict.fromkeys(found.id for found in got.situations)),
        ),
        "matched": (expect.matched, tuple(s.code.value for s in got.matched)),
        **_by_outcome(expect, got),
    }
    for name, (wanted, came) in pairs.items():
        if wanted is not None and wanted != came:
            yield f"{name}: expected {_words(wanted)}, got {_words(came)}"


def _by_outcome(expect: Expectation, got: Determination) -> Mapping[str, tuple[object, object]]:
    said = got.policy_determination
    authorization = said.prior_authorization if said else None
    return {
        "reason": (expect.reason, said.reason_id if said else "none"),
        "prior_authorization": (
            expect.prior_authorization,
            authorization.value if authorization else "none",
        ),
        "missing": (expect.missing, tuple(spec.name for spec in got.missing)),
        "forms": (expect.forms, tuple(f.form for f in said.forms) if said else ()),
    }


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """The facts that a case tells; what it does not name is not told."""

    case: Case

    @property
    def today(self) -> date:
        return self.case.on

    def get(self, spec: FactSpec) -> Fact:
        if spec.name == ORDER_DAY:
            return day_fact(service_day(self.case.order, self.case.on))
        if spec.name == LAST_DAY:
            return last_day_fact(service_day(self.case.order, self.case.on))
        if spec.name == "order.codes":
            return Fact(self.case.codes, (_PLACE,))
        written = self.case.facts.get(spec.name)
        if written is None:
            return NOT_TOLD
        places = (f"{_PLACE}.facts.{spec.name}",)
        try:
            return Fact(fact_value(spec, written, self._day, self.today), places)
        except ValueError as error:  # lint names the place and the repair
            return Fact(why=Why.NOT_READABLE, places=places, because=str(error))

    @property
    def _day(self) -> date:
        return service_day(self.case.order, self.case.on).earliest


def _words(value: object) -> str:
    return (", ".join(value) or "nothing") if isinstance(value, tuple) else str(value)
