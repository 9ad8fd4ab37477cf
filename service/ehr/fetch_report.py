"""Fetch reports: outcomes of queries to an EHR, for log, metrics and trace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """Outcome of one query. All but FETCHED, and NOT_FOUND of a read, are technical errors."""

    FETCHED = "fetched"
    NOT_FOUND = "not-found"
    TIMEOUT = "timeout"
    """No complete answer within the call's time budget."""
    REFUSED = "refused"
    """The server answered 403: the token's scope is too small."""
    REJECTED_TOKEN = "rejected-token"  # noqa: S105
    """The server answered 401."""
    TOO_LARGE = "too-large"
    """More bytes, JSON values, resources, pages or requests than allowed for one call; none of it
    is used.
    """
    NOT_FHIR = "not-fhir"
    """Not the requested FHIR: HTML, truncated JSON, another type or id."""
    NOT_UNDERSTOOD = "not-understood"
    """The server answered 400, 422 or 501: it does not know the search or a parameter of it."""
    ERROR = "error"
    """No connection, an untrusted certificate, or an error status."""
    WRONG_PATIENT = "wrong-patient"
    """Data of another patient, dropped."""
    NOT_ALLOWED = "not-allowed"
    """Refused by this service: a server, host, address, redirect or id outside the allowlist."""
    LEFT_ALONE = "left-alone"
    """Not sent: the server has answered none of the last calls, and is tried again soon."""


class UnreadBecause(StrEnum):
    """Reasons why data that a call lacks were not read from its EHR either; keys of texts."""

    NO_SERVER = "no_server"
    NO_TOKEN = "no_token"  # noqa: S105
    NOT_ASKED = "not_asked"
    """The server is outside the allowlist, or fetching is off."""
    NOT_GIVEN = "not_given"
    """The EHR was asked."""


class TokenUse(StrEnum):
    """Use of the call's access token, in the codes of CRD's metric data."""

    USED = "used"
    NOT_USED = "not-used"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FetchReport:
    """Outcome of one query. `what` is a reference, or a search without its values.

    `started` is its start by `time.monotonic()`, 0 where it is not known; no log keeps it.
    """

    what: str
    outcome: Outcome
    milliseconds: int
    started: float = field(default=0.0, compare=False)


def token_use(reports: Iterable[FetchReport]) -> TokenUse:
    """The token's use according to a call's reports."""
    outcomes = {r.outcome for r in reports} - {Outcome.NOT_ALLOWED, Outcome.LEFT_ALONE}
    if Outcome.REJECTED_TOKEN in outcomes:
        return TokenUse.REJECTED
    return TokenUse.USED if outcomes else TokenUse.NOT_USED
