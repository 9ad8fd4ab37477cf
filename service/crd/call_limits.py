"""Request size limits of a call: values, resources, orders and references to fetch.

A limit of bytes is insufficient: the cost of a call grows with its orders, resources and
references. A call above a limit is refused as a whole; a partial answer would pass for a complete
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from service.ehr.fhir_query import FhirQuery
from service.errors import BodyTooLarge, UnprocessableRequest
from service.fhir.document import Resource
from service.fhir.json_limits import holds_more_values
from service.fhir.resources import Resources


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits of one call.

    `values` are JSON members and elements, `resources` those of context and prefetch, `orders`
    those under review, `references` resources outside the call that it refers to, each once.
    """

    values: int = 100_000
    resources: int = 1_000
    orders: int = 100
    references: int = 200

    def check_values(self, body: bytes) -> None:
        """Raise BodyTooLarge (413) if the JSON text contains more values than allowed."""
        if holds_more_values(body, self.values):
            raise BodyTooLarge(f"holds more than {self.values} JSON values")

    def check_resources(self, resources: Resources) -> None:
        """Raise UnprocessableRequest (422) at the first resource too many."""
        if len(resources) > self.resources:
            first = next(islice(resources, self.resources, None))
            raise UnprocessableRequest(
                f"at most {self.resources} resources in one call", first.place
            )

    def check_orders(self, orders: Sequence[Resource]) -> None:
        """Raise UnprocessableRequest (422) at the first order too many."""
        if len(orders) > self.orders:
            raise UnprocessableRequest(
                f"at most {self.orders} orders in one call: send the others in another",
                orders[self.orders].place,
            )

    def check_orders_by_coverage(self, count: int, place: str) -> None:
        """Raise UnprocessableRequest (422) if orders, each counted once for each coverage that it
        is looked at under, are too many.
        """
        if count > self.orders:
            raise UnprocessableRequest(
                f"at most {self.orders} orders in one call, each counted once for each of its "
                "coverages: send the others in another",
                place,
            )

    def check_questionnaires(self, count: int, place: str) -> None:
        """Raise UnprocessableRequest (422) if a call names more forms than it may refer to
        resources.
        """
        if count > self.references:
            raise UnprocessableRequest(
                f"at most {self.references} questionnaires in one call: ask for the others in "
                "another",
                place,
            )

    def check_references(self, needs: Sequence[FhirQuery]) -> None:
        """Raise UnprocessableRequest (422) if more references than allowed would be fetched."""
        if len(needs) > self.references and len(set(needs)) > self.references:
            raise UnprocessableRequest(
                f"refers to more than {self.references} resources that it does not hold: "
                "send them as prefetch"
            )
