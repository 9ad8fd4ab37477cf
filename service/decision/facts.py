"""Facts of a decision, each with its place in the request or the reason why it is unknown.

One table names them all. A new fact is a line here, and one in the reader of FHIR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from service.decision.order import Code
from service.decision.value_sets import ValueSet


class FactKind(StrEnum):
    """The type of a fact's values, and so their comparisons."""

    CODES = "codes"
    """Any number of codes at once, as an order has several diagnoses."""
    CHOICE = "choice"
    """One word of a list."""
    FLAG = "flag"
    """Yes or no."""
    NUMBER = "number"
    """A decimal number, in the fact's unit."""
    DAY = "day"
    """A day; one that is told as a month or a year lies between two days."""
    AGE = "age"
    """Completed years on the day of service; its value is the day of birth."""


class Why(StrEnum):
    """Reason for an unknown fact."""

    NOT_TOLD = "not told"
    NOT_READABLE = "not readable"
    """Its form is unreadable: text only, an invalid unit or date."""
    NOT_REACHABLE = "not reachable"
    """Its resource could not be fetched, or is outside the token's scope."""
    CONTRADICTORY = "contradictory"
    """Two places contradict each other."""


class Between(NamedTuple):
    """Numbers or days from `low` to `high`, both inclusive; None where there is no bound."""

    low: Decimal | date | None
    high: Decimal | date | None


class Nothing:
    """The value of a fact that is known to be absent, such as an earlier procedure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = Nothing()

Value = frozenset[Code] | str | bool | Decimal | date | Between | Nothing


class Fact(NamedTuple):
    """A fact, known or partly known.

    `value` is None where nothing is known; a `Between` narrows a number or a day down; codes with a
    `why` are some of the codes, and there may be more. `why` is None exactly when the value is
    known to the full. `places` are where in the request it is told ("context.draftOrders
    .entry[0].resource.reasonCode[0]"); `because` says more about why it is unknown, in words that
    hold no patient's data.
    """

    value: Value | None = None
    places: tuple[str, ...] = ()
    why: Why | None = None
    because: str = ""

    @property
    def known(self) -> bool:
        return self.why is None


NOT_TOLD = Fact(why=Why.NOT_TOLD)


class Family(StrEnum):
    """Source of a fact declared by a policy."""

    OBSERVATION = "observation"
    """The newest value of an observation."""
    PROCEDURE = "procedure"
    """The last day on which a procedure was done."""
    ORDER = "order"
    """The last day for which a service was ordered, the order at hand left aside."""
    ANSWER = "answer"
    """The answer to an item of a completed questionnaire."""


@dataclass(frozen=True, slots=True)
class FactSource:
    """The origin of a declared fact.

    `codes` say which observation or service; None means the policy's own services. `days` and
    `months` bound the time before the day of service that is looked at; `months` come first. For an
    answer, `questionnaire` is the form's id and `link_id` the item's.
    """

    family: Family
    codes: ValueSet | None = None
    months: int = 0
    days: int = 0
    questionnaire: str | None = None
    link_id: str | None = None


@dataclass(frozen=True, slots=True)
class FactSpec:
    """Definition of a fact.

    `words` name it in a sentence ("the diagnosis"), `called` in a condition where that is another
    one ("the patient's age"). `told_by` are the FHIR elements that tell it,
    `needs` the types of resources beside the order that it is read from. `unit` is UCUM's.
    `choices` are all that a CHOICE can be, None where there may be others. A `whole` number has no
    fraction; `least` is the smallest that can be. `may_be_nothing`: there may be none of what it is
    a fact of. `asks` is CRD's info-needed code where it is missing. `source` is set for declared
    facts.
    """

    name: str
    kind: FactKind
    words: str
    told_by: tuple[str, ...]
    needs: tuple[str, ...] = ()
    unit: str | None = None
    choices: frozenset[str] | None = None
    whole: bool = False
    least: Decimal | None = None
    may_be_nothing: bool = False
    asks: str = "OTH"
    source: FactSource | None = None
    called: str = ""


class Facts(Protocol):
    """The facts of one order under one coverage, read on demand."""

    @property
    def today(self) -> date:
        """The day of the call in the service's time zone."""
        ...

    def get(self, spec: FactSpec) -> Fact:
        """A fact, as far as it is known; never an exception."""
        ...


ORDER_DAY = "order.day"
LAST_DAY = "order.last_day"
QUANTITY = "order.quantity"
APPROVAL = "earlier.approval"
IS_APPROVED = "earlier.approved"
DECISION = "earlier.decision"
DECISION_NUMBER = "earlier.decision_number"
DECISION_DAY = "earlier.decision_day"

APPROVED, PENDING, DENIED, PARTLY = "approved", "pending", "denied", "partly"
UNREAD = "unread"
"""Of DECISION: the order names a decision that is not at hand."""
_TABLE = (
    # --- the order
    FactSpec(
        "order.codes", FactKind.CODES, "the code of the service", ("code",), asks="detail-code"
    ),
    FactSpec(
        "order.modifiers",
        FactKind.CODES,
        "the modifier",
        ("code.extension:billing-options", "orderDetail"),
        asks="detail-code",
    ),
    FactSpec("order.category", FactKind.CODES, "the kind of order", ("category",)),
    FactSpec(
        "order.priority",
        FactKind.CHOICE,
        "the priority of the order",
        ("priority",),
        choices=frozenset({"routine", "urgent", "asap", "stat"}),
    ),
    FactSpec(
        "order.intent",
        FactKind.CHOICE,
        "the intent of the order",
        ("intent",),
        choices=frozenset(
            {
                *("proposal", "plan", "directive", "order", "original-order", "reflex-order"),
                *("filler-order", "instance-order", "option"),
            }
        ),
    ),
    FactSpec(
        QUANTITY,
        FactKind.NUMBER,
        "the quantity",
        ("quantityQuantity", "dispenseRequest.quantity"),
        unit="1",
        least=Decimal(0),
    ),
    FactSpec(
        "order.frequency",
        FactKind.NUMBER,
        "how often it is to be done",
        ("occurrenceTiming.repeat",),
        unit="/d",
        least=Decimal(0),
    ),
    FactSpec("order.body_site", FactKind.CODES, "the body site", ("bodySite",)),
    FactSpec(
        "order.reason",
        FactKind.CODES,
        "the diagnosis",
        ("reasonCode", "reasonReference"),
        needs=("Condition",),
    ),
    FactSpec(
        "order.performer",
        FactKind.CODES,
        "the performer",
        ("performerType", "performer"),
        needs=("Practitioner", "PractitionerRole", "Organization"),
        asks="performer",
    ),
    FactSpec(
        "order.place",
        FactKind.CODES,
        "the place of service",
        ("locationCode", "locationReference"),
        needs=("Location",),
        asks="location",
    ),
    FactSpec(
        ORDER_DAY,
        FactKind.DAY,
        "the day of service",
        ("occurrence[x]", "start", "requestedPeriod"),
        asks="timeframe",
    ),
    FactSpec(
        LAST_DAY,
        FactKind.DAY,
        "the last day of service",
        ("occurrence[x]", "start", "requestedPeriod"),
        asks="timeframe",
    ),
    FactSpec("order.replaces", FactKind.FLAG, "whether it replaces another order", ("replaces",)),
    FactSpec(
        "order.study",
        FactKind.FLAG,
        "whether it belongs to a clinical study",
        ("extension:workflow-researchStudy", "ResearchSubject"),
    ),
    # --- the patient
    FactSpec(
        "patient.age",
        FactKind.AGE,
        "the patient's date of birth",
        ("Patient.birthDate",),
        needs=("Patient",),
        called="the patient's age",
    ),
    FactSpec(
        "patient.gender",
        FactKind.CHOICE,
        "the patient's administrative gender",
        ("Patient.gender",),
        needs=("Patient",),
        choices=frozenset({"male", "female", "other", "unknown"}),
    ),
    FactSpec(
        "patient.deceased",
        FactKind.FLAG,
        "whether the patient has died",
        ("Patient.deceased[x]",),
        needs=("Patient",),
    ),
    # --- the coverage
    FactSpec(
        "coverage.program",
        FactKind.CHOICE,
        "the program that pays",
        ("Coverage.type", "the payers file"),
        needs=("Coverage",),
        asks="OTH",
        choices=frozenset({"medicare_advantage", "original_medicare", "not_medicare"}),
    ),
    FactSpec(
        "coverage.type",
        FactKind.CODES,
        "the type of the coverage",
        ("Coverage.type",),
        needs=("Coverage",),
    ),
    FactSpec(
        "coverage.plan",
        FactKind.CHOICE,
        "the plan",
        ("Coverage.class:plan",),
        needs=("Coverage",),
    ),
    FactSpec(
        "coverage.group",
        FactKind.CHOICE,
        "the group",
        ("Coverage.class:group",),
        needs=("Coverage",),
    ),
    FactSpec(
        "coverage.beside",
        FactKind.CODES,
        "the types of the patient's other coverages in force",
        ("Coverage.type",),
        needs=("Coverage",),
    ),
    FactSpec(
        "coverage.in_force",
        FactKind.FLAG,
        "whether the coverage is in force on the day of service",
        ("Coverage.status", "Coverage.period"),
        needs=("Coverage",),
        asks="timeframe",
    ),
    FactSpec(
        "coverage.outlasts_order",
        FactKind.FLAG,
        "whether the coverage lasts as long as the order",
        ("Coverage.period", "occurrencePeriod"),
        needs=("Coverage",),
        asks="contract-window",
    ),
    # --- the encounter
    FactSpec(
        "encounter.class",
        FactKind.CHOICE,
        "the kind of encounter",
        ("Encounter.class",),
        needs=("Encounter",),
    ),
    FactSpec(
        "encounter.status",
        FactKind.CHOICE,
        "the status of the encounter",
        ("Encounter.status",),
        needs=("Encounter",),
        choices=frozenset(
            {
                *("planned", "arrived", "triaged", "in-progress", "onleave", "finished"),
                *("cancelled", "entered-in-error", "unknown"),
            }
        ),
    ),
    FactSpec(
        "encounter.priority",
        FactKind.CHOICE,
        "how urgent the encounter is",
        ("Encounter.priority",),
        needs=("Encounter",),
    ),
    FactSpec(
        "care.urgency",
        FactKind.CHOICE,
        "how urgent the care is",
        ("Encounter.class", "Encounter.type", "Encounter.priority", "priority"),
        needs=("Encounter",),
        choices=frozenset({"emergency", "urgent", "routine"}),
    ),
    # --- the member, by the payer's own records
    *(
        FactSpec(f"member.{name}", FactKind.FLAG, words, ("the payer's records",))
        for name, words in (
            ("deceased", "whether the member has died"),
            ("hospice", "whether the member has elected hospice"),
            ("qmb", "whether the member is a Qualified Medicare Beneficiary"),
        )
    ),
    # --- what was before
    FactSpec(
        "earlier.answer",
        FactKind.CHOICE,
        "what the order's own coverage information says",
        ("extension:coverage-information",),
        choices=frozenset({"covered", "not-covered", "conditional", "indeterminate"}),
        may_be_nothing=True,
    ),
    FactSpec(
        APPROVAL,
        FactKind.CHOICE,
        "the number of a prior authorization",
        ("extension:coverage-information", "ClaimResponse.preAuthRef"),
        needs=("ClaimResponse",),
        may_be_nothing=True,
    ),
    FactSpec(
        IS_APPROVED,
        FactKind.FLAG,
        "whether an approval is on file",
        ("extension:coverage-information", "ClaimResponse.preAuthRef"),
        needs=("ClaimResponse",),
    ),
    FactSpec(
        DECISION,
        FactKind.CHOICE,
        "the payer's decision before the service",
        ("extension:coverage-information", "ClaimResponse"),
        needs=("ClaimResponse",),
        choices=frozenset({APPROVED, PENDING, DENIED, PARTLY, UNREAD}),
        may_be_nothing=True,
    ),
    FactSpec(
        DECISION_NUMBER,
        FactKind.CHOICE,
        "the number of that decision",
        ("ClaimResponse.preAuthRef", "ClaimResponse.item.adjudication"),
        needs=("ClaimResponse",),
        may_be_nothing=True,
    ),
    FactSpec(
        DECISION_DAY,
        FactKind.DAY,
        "the day of that decision",
        ("ClaimResponse.created",),
        needs=("ClaimResponse",),
        may_be_nothing=True,
    ),
)

TABLE: Mapping[str, FactSpec] = MappingProxyType({spec.name: spec for spec in _TABLE})
"""The facts without a declaration, by name."""
