"""Statements: an order's coverage information in the words of its CRD version, as JSON.

What depends on the order's shape alone is written once; a call fills in coverage, id and codes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from cards.texts import Texts
from cards.vocabulary import Json
from service.fhir.orders import VISIT_TYPE
from service.response.coverage_information_writer import CoverageInformationWriter
from service.response.memory import Kept, Memory
from service.response.places import JsonWithPlaces, StandIns, in_json
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


@dataclass(frozen=True, slots=True)
class Statements:
    """Writer of statements."""

    coverage_information: CoverageInformationWriter
    texts: Texts
    _memory: Memory[StatementText] = field(default_factory=lambda: Memory(_MOST_KEPT))

    def text(self, item: Decided, to: ResponseContext, shape: Shape | None) -> StatementText:
        """The text for an order of this shape; without a shape it is written for the call."""
        if shape is None:
            return self._written(item, to, StandIns()) or NOTHING
        d = item.determination
        key = (
            to.version,
            to.tier,
            to.now.date(),
            to.unread_because,
            shape,
            statement_shape(d),
            tuple(code.system for code in d.billing_expressions),
            len(item.depends_on),
        )
        kept = self._memory.get(key) or self._keep(key, item, to)
        return kept.text or self._written(item, to, StandIns()) or NOTHING

    def values(self, item: Decided, assertion_id: str) -> list[bytes]:
        """The values for the places of an order's statement."""
        coverage = item.determination.finding.coverage
        return [
            in_json(coverage.reference) if coverage else b"",
            in_json(assertion_id),
            in_json(coverage.payer_unread or "") if coverage else b"",
            *(in_json(code.value) for code in item.determination.billing_expressions),
            *map(in_json, item.depends_on),
        ]

    def _keep(self, key: Shape, item: Decided, to: ResponseContext) -> Kept[StatementText]:
        stand_ins = StandIns()
        found = item.determination.finding.coverage
        named = found is not None and found.can_be_pointed_at
        codes = len(item.determination.billing_expressions)
        depends_on = len(item.depends_on)
        rest = [stand_ins.value(_REST + i) for i in range(codes + depends_on)]
        values = OrderValues(
            reference=stand_ins.nothing(),
            name=stand_ins.nothing(),
            coverage=stand_ins.value(_COVERAGE, "Coverage/" if named else ""),
            payer_unread=stand_ins.value(_PAYER_UNREAD),
            codes=rest[:codes],
            depends_on=rest[codes:],
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
