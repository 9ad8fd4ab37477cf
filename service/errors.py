"""The one tree of errors. Each knows its HTTP status and how to say itself as an OperationOutcome.

    CovercardError
    ├── RequestError               the caller's input; place and repair go back to the caller
    │   ├── MalformedRequest       400  not JSON; in CRD 2.2 also not CDS Hooks, not FHIR (hook-13)
    │   ├── UnprocessableRequest   422  in CRD 2.0: JSON, but not CDS Hooks or not FHIR (163)
    │   ├── UnhandledPayer         400  no coverage of a payer that is ours (CRD 2.2.1 hook-13)
    │   ├── Unauthenticated        401  no client of ours, or not shown to be one (CDS Hooks 2.0)
    │   ├── PreconditionFailed     412  data neither prefetched nor to be had (CDS Hooks 2.0 §4.5)
    │   ├── UnsupportedMediaType   415
    │   ├── BodyTooLarge           413
    │   ├── TooManyCalls           429  more calls a minute than a client may make
    │   ├── UnknownService         404
    │   ├── UnknownPolicy          404  no such policy, or none in force that day
    │   └── UnknownContext         404  no answer of this client with that assertion id
    ├── FetchFailed                something of the EHR's could not be read; reported, never raised
    │                              as far as the caller
    ├── PayerDataUnavailable       the payer's own records could not be read; told in the answer
    ├── Unavailable                503  not the caller's fault: try again later
    │   └── RecordsUnavailable     503  neither the decision log nor its spool can be used
    └── ConfigurationError         the operator's files or settings; stops the start or the command
        └── LibraryError           a policy, notice, payers or clients file: file, field and repair

What a RequestError says is about the form of the input, never its content: no value that came with
a request is ever put into a message, for messages are logged and values may be a patient's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class CovercardError(Exception):
    """Root of all errors that this program raises on purpose."""


class RequestError(CovercardError):
    """Something about the call is wrong; `problems` are (place, what was expected) pairs.

    `place` is a path into the request body ("context.draftOrders.entry[2].resource.code") or ""
    for the call as a whole.
    """

    status: ClassVar[int] = 400
    issue_code: ClassVar[str] = "invalid"
    """A code of FHIR's issue-type value set."""

    def __init__(self, expected: str, place: str = "", *more: tuple[str, str]) -> None:
        super().__init__(f"{place}: {expected}" if place else expected)
        self.problems: tuple[tuple[str, str], ...] = ((place, expected), *more)

    def operation_outcome(self) -> dict[str, object]:
        """This error as a FHIR OperationOutcome (CRD 2.2.1 hook-10)."""
        return operation_outcome(self.issue_code, self.problems)

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers that go with the answer."""
        return {}


def operation_outcome(code: str, problems: Sequence[tuple[str, str]]) -> dict[str, object]:
    """An OperationOutcome with one error issue for each (place, expected) pair."""
    issues: list[dict[str, object]] = []
    for place, expected in problems:
        issue: dict[str, object] = {
            "severity": "error",
            "code": code,
            "diagnostics": f"{place}: {expected}" if place else expected,
        }
        if place:
            issue["expression"] = [place]
        issues.append(issue)
    return {"resourceType": "OperationOutcome", "issue": issues}


class MalformedRequest(RequestError):
    """Not parsable as JSON; for CRD 2.2 also what is against the rules of CDS Hooks or FHIR."""


class UnprocessableRequest(RequestError):
    """JSON, but against the rules of CDS Hooks or FHIR: what CRD 2.0.1 wants a 422 for."""

    status = 422


class UnhandledPayer(RequestError):
    """CRD 2.2 asks for 400 where the one coverage of a payer of ours cannot be told.

    `payers` are the identifiers that were sent, "system|value", fit to be logged.
    """

    issue_code = "business-rule"

    def __init__(self, expected: str, place: str, payers: Sequence[str] = ()) -> None:
        super().__init__(expected, place)
        self.payers = tuple(payers)


class PreconditionFailed(RequestError):
    """Needed data was neither prefetched nor could it be queried."""

    status = 412
    issue_code = "incomplete"


class Unauthenticated(RequestError):
    """The caller is no client, or `claim` of its token does not hold; the token is not repeated.

    Without a claim, no token came at all.
    """

    status = 401
    issue_code = "login"

    def __init__(self, claim: str | None, problem: str) -> None:
        self.claim = claim
        super().__init__(f"{claim}: {problem}" if claim else problem)

    @property
    def headers(self) -> Mapping[str, str]:
        challenge = 'Bearer realm="covercard"'
        if self.claim:
            # RFC 6750 §3: a request that carried no token is given no error code.
            challenge += f', error="invalid_token", error_description="{self.args[0]}"'
        return {"WWW-Authenticate": challenge}


class TooManyCalls(RequestError):
    """`retry_after` in seconds."""

    status = 429
    issue_code = "throttled"

    def __init__(self, expected: str, retry_after: int) -> None:
        super().__init__(expected)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after)}


class UnsupportedMediaType(RequestError):
    status = 415
    issue_code = "not-supported"


class BodyTooLarge(RequestError):
    status = 413
    issue_code = "too-long"


class UnknownService(RequestError):
    status = 404
    issue_code = "not-found"


class UnknownPolicy(RequestError):
    status = 404
    issue_code = "not-found"


class FetchFailed(CovercardError):
    """Something of the EHR's could not be read; `outcome` is a value of fhir.outcomes.Outcome."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class PayerDataUnavailable(CovercardError):
    """The payer's records could not be read in time; `why` names the kind of trouble, no value."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class UnknownContext(RequestError):
    """No answer with this coverage-assertion-id is on record for this client."""

    status = 404
    issue_code = "not-found"


class Unavailable(CovercardError):
    """Something that the call needs is not to be had now; `retry_after` in seconds."""

    status: ClassVar[int] = 503

    def __init__(self, problem: str, retry_after: int = 5) -> None:
        super().__init__(problem)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after)}

    def operation_outcome(self) -> dict[str, object]:
        """This error as a FHIR OperationOutcome."""
        return operation_outcome("transient", [("", str(self))])


class RecordsUnavailable(Unavailable):
    """An answer that could not be produced again must not be given (CRD 2.2.1 found-37)."""


class ConfigurationError(CovercardError):
    """A setting or a file of the operator's is wrong; says which and how to mend it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a library file: where, what, and how to mend it."""

    file: Path
    field: str
    problem: str
    repair: str
    line: int | None = None
    warning: bool = False

    def __str__(self) -> str:
        line = f":{self.line}" if self.line is not None else ""
        kind = "warning" if self.warning else "error"
        return f"{self.file}{line}: {kind}: {self.field}: {self.problem} — {self.repair}"


class LibraryError(ConfigurationError):
    """A policy, notice, payers or clients file cannot be used as it is; all findings at once."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = tuple(findings)
