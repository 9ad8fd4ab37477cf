"""Statements: an order's coverage information in the words of its CRD version, as JSON.

What depends on the order's shape alone is written once; a call fills in coverage, id and codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from cards.texts import Texts
from cards.vocabulary import Json
from service.decision.coverage_assertion import coverage_assertion_id
from service.decision.order import Code
from service.fhir.orders import VISIT_TYPE
from service.response.coverage_information_writer import CoverageInformationWriter
from service.response.json_places import JsonWithPlaces, StandIns, in_json
from service.response.memory import Kept, Memory
from service.response.response_context import Decided, ResponseContext
from service.response.shape import OrderValues, Shape, lasting, statement_shape, with_values

_MOST_KEPT = 1024
"""Statements of two to five kilobytes: each policy version, program and day has a few."""

_COVERAGE, _ASSERTION_ID, _PAYER_UNREAD, _REST = range(4)
"""The numbers of a statement's values; from the last on, the codes and then the dependencies."""

_encode = msgspec.json.Encoder().encode


class StatementText(NamedTuple):
    """The text of a statement, without the values of its call.

    `asserted` is what the assertion id is made of besides the order; `extension`, the JSON of
    coverage information; `description`, what the update says that it does.
    """

    asserted: tuple[str, ...]
    extension: JsonWithPlaces
    description: str


NOTHING = StatementText((), JsonWithPlaces(b"", ()), "")
"""Of an order for which no coverage information can be given."""


class Statement(NamedTuple):
    """The statement on an order. `coverage` is the reference that it is about."""

    coverage: str
    assertion_id: str
    description: str
    text: JsonWithPlaces
    values: Sequence[str]

    def extension(self) -> bytes:
        """The extension of coverage information, as JSON."""
        return self.text.filled(in_json(self.values))


@dataclass(frozen=True, slots=True)
class Statements:
    """Writer of statements."""

    coverage_information: CoverageInformationWriter
    texts: Texts
    _memory: Memory[StatementText] = field(default_factory=lambda: Memory(_MOST_KEPT))

    def of(self, item: Decided, to: ResponseContext, shape: Shape | None) -> Statement | None:
        """The statement on an order of this shape; without a shape it is written for the call.

        None for an order without coverage information, or without one coverage to reference.
        """
        d = item.determination
        coverage, codes = d.finding.coverage, d.billing_expressions
        text = None if shape is None else self._text(item, to, shape, codes)
        text = text or self._written(item, to, StandIns())
        if text is None or text is NOTHING or coverage is None:
            return None
        assertion_id = coverage_assertion_id(d, codes, to.client, to.ehr, text.asserted)
        values = [
            coverage.reference,
            assertion_id,
            coverage.payer_unread or "",
            *[code.value for code in codes],
            *item.depends_on,
        ]
        return Statement(coverage.reference, assertion_id, text.description, text.extension, values)

    def _text(
        self, item: Decided, to: ResponseContext, shape: Shape, codes: Sequence[Code]
    ) -> StatementText | None:
        """The text by the order's shape; None where it depends on more than that."""
        key = (
            to.version,
            to.tier,
            to.now.date(),
            to.unread_because,
            shape,
            statement_shape(item.determination),
            tuple([code.system for code in codes]),
            len(item.depends_on),
        )
        return (self._memory.get(key) or self._keep(key, item, to, codes)).text

    def _keep(
        self, key: Shape, item: Decided, to: ResponseContext, codes: Sequence[Code]
    ) -> Kept[StatementText]:
        stand_ins = StandIns()
        found = item.determination.finding.coverage
        named = found is not None and found.can_be_pointed_at
        rest = [stand_ins.value(_REST + i) for i in range(len(codes) + len(item.depends_on))]
        values = OrderValues(
            reference=stand_ins.nothing(),
            name=stand_ins.nothing(),
            coverage=stand_ins.value(_COVERAGE, "Coverage/" if named else ""),
            payer_unread=stand_ins.value(_PAYER_UNREAD),
            codes=rest[: len(codes)],
            depends_on=rest[len(codes) :],
        )
        text = self._written(with_values(item, values), to, stand_ins)
        return self._memory.keep(key, text, lasting(item))

    def _written(
        self, item: Decided, to: ResponseContext, stand_ins: StandIns
    ) -> StatementText | None:
        """The text with the places that the stand-ins tell; None where one is not kept as it is."""
        stated = self.coverage_information.coverage_information(item.determination, to)
        if stated is None:
            return NOTHING
        info = msgspec.structs.replace(
            stated.info,
            assertion_id=stand_ins.value(_ASSERTION_ID),
            dependencies=item.depends_on,
        )
        extension = to.version.coverage_information(info, self.texts.phrases.reasons)
        written = stand_ins.found_in(_encode(extension))
        if written is None:
            return None
        description = self._said_of_update(item.resource.type, extension)
        return StatementText(stated.asserted, written, description)

    def _said_of_update(self, kind: str, extension: Json) -> str:
        """The action's description, in the words that the version has written."""
        phrases = self.texts.phrases.update
        by_type = {"Appointment": phrases.appointment, VISIT_TYPE: phrases.visit}
        parts = extension["extension"]
        covered = next(part["valueCode"] for part in parts if part["url"] == "covered")
        return by_type.get(kind, phrases.order).format(covered=covered)
