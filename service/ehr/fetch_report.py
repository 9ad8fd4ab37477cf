"""How fetching from an EHR ended: for the log, the metrics, and the way from order to answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How one need ended. Everything but FETCHED, and NOT_FOUND of a read, is technical trouble."""

    FETCHED = "fetched"
    NOT_FOUND = "not-found"
    TIMEOUT = "timeout"
    """No full answer within the time budget of the call."""
    REFUSED = "refused"
    """The server answered 403: the token does not reach that far."""
    REJECTED_TOKEN = "rejected-token"  # noqa: S105
    """The server answered 401."""
    TOO_LARGE = "too-large"
    """More bytes, pages or requests than one call may take; nothing of it is used."""
    NOT_FHIR = "not-fhir"
    """Something else than the FHIR that was asked for: HTML, cut JSON, another type or id."""
    ERROR = "error"
    """No connection, no trust in the certificate, or an error status."""
    WRONG_PATIENT = "wrong-patient"
    """Data of another patient than the call's came; it was dropped."""
    NOT_ALLOWED = "not-allowed"
    """We do not go there: a server, host, address, redirect or id that no rule of ours lets by."""


class TokenUse(StrEnum):
    """What became of the call's access token, in the codes of CRD's metric data."""

    USED = "used"
    NOT_USED = "not-used"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class FetchReport:
    """How one need of a call ended. `what` is a reference or a search without its values."""

    what: str
    outcome: Outcome
    milliseconds: int


def token_use(reports: Iterable[FetchReport]) -> TokenUse:
    """What the reports of one call tell of its token."""
    outcomes = {r.outcome for r in reports} - {Outcome.NOT_ALLOWED}
    if Outcome.REJECTED_TOKEN in outcomes:
        return TokenUse.REJECTED
    return TokenUse.USED if outcomes else TokenUse.NOT_USED
