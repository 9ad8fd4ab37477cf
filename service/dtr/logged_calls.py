"""What a package needs of the decision log: the call that an earlier answer was given to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from service.fhir.document import Resource


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A hook call as it was logged.

    `request` are its body's bytes, access token left out; `order` is the "Type/id" of the order
    that the coverage-assertion-id was given for. `fetched` are the resources that the EHR was asked
    for then: the order itself may be among them.
    """

    service_id: str
    order: str
    request: bytes = field(repr=False)
    fetched: tuple[Resource, ...] = field(default=(), repr=False)


class LoggedCalls(Protocol):
    """Who remembers the calls."""

    def by_assertion_id(self, assertion_id: str, client: str) -> LoggedCall | None:
        """The latest call of this client whose answer stated this id; None if there is none.

        Another client's call is none: it is neither shown nor told to exist.
        """
        ...


class NoLoggedCalls:
    """For a service that keeps no log: no id is known."""

    def by_assertion_id(self, assertion_id: str, client: str) -> LoggedCall | None:
        return None
