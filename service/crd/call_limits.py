"""Request size limits of a call: values, resources, orders and references to fetch.

Bytes alone bound no call: what one costs grows with its orders, with the resources beside them and
with the references that would have to be fetched. A call above a limit is refused as a whole; half
an answer would pass for a whole one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.ehr.fhir_query import FhirQuery
from service.errors import BodyTooLarge, UnprocessableRequest
from service.fhir.document import Resource
from service.fhir.json_limits import holds_more_values


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The most that one call may hold.

    `values` are JSON members and elements, `resources` those of context and prefetch, `orders`
    those that coverage is asked about, `references` those that lead to what the call did not bring.
    """

    values: int = 100_000
    resources: int = 1_000
    orders: int = 100
    references: int = 200

    def check_values(self, body: bytes) -> None:
        """Raise BodyTooLarge (413) if the JSON text holds more values than it may."""
        if holds_more_values(body, self.values):
            raise BodyTooLarge(f"holds more than {self.values} JSON values")

    def check_resources(self, resources: Sequence[Resource]) -> None:
        """Raise UnprocessableRequest (422) at the first resource too many."""
        if len(resources) > self.resources:
            raise UnprocessableRequest(
                f"at most {self.resources} resources in one call", resources[self.resources].place
            )

    def check_orders(self, orders: Sequence[Resource]) -> None:
        """Raise UnprocessableRequest (422) at the first order too many."""
        if len(orders) > self.orders:
            raise UnprocessableRequest(
                f"at most {self.orders} orders in one call: send the others in another",
                orders[self.orders].place,
            )

    def check_references(self, needs: Sequence[FhirQuery]) -> None:
        """Raise UnprocessableRequest (422) if too much would have to be fetched."""
        if len(needs) > self.references:
            raise UnprocessableRequest(
                f"refers to more than {self.references} resources that it does not hold: "
                "send them as prefetch"
            )
