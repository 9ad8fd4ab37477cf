"""The tree of errors, each with its HTTP status and its OperationOutcome.

    CovercardError
    ├── RequestError               the caller's input; the answer has place and repair
    │   ├── MalformedRequest       400  no JSON; in CRD 2.2 also no CDS Hooks, no FHIR (hook-13)
    │   ├── UnprocessableRequest   422  in CRD 2.0: JSON, but no CDS Hooks or no FHIR (163)
    │   ├── UnhandledPayer         400  no coverage of a configured payer (CRD 2.2.1 hook-13)
    │   ├── Unauthenticated        401  no registered client, or an invalid token (CDS Hooks 2.0)
    │   │   └── RejectedAccessToken 401  an access token of this service that has ended
    │   ├── InsufficientScope      403  an access token without the scope of the operation
    │   ├── OAuthRefusal      400, 401  no access token is issued (RFC 6749 §5.2)
    │   ├── PreconditionFailed     412  data neither prefetched nor readable (CDS Hooks 2.0 §4.5)
    │   ├── UnsupportedMediaType   415
    │   ├── BodyTooLarge           413
    │   ├── TooManyCalls           429  more calls a minute than allowed for a client
    │   ├── UnknownService         404
    │   ├── UnknownPolicy          404  no such policy, or none in force that day
    │   ├── UnknownContext         404  no answer of this client with that assertion id
    │   ├── NothingPackaged        422  no form could be told for anything that was asked
    │   │   └── UnknownForm        404  each form asked for is one that is not on file
    │   ├── UnknownQuestionnaire   404  no form of this canonical is on file
    │   ├── UnknownValueSet        404  no value set of this canonical is on file
    │   └── NotExpandable          422  a value set whose codes cannot be listed
    ├── FetchFailed                data of the EHR could not be read; reported in the answer
    ├── PayerDataUnavailable       the payer's records could not be read; reported in the answer
    ├── Unavailable                503  a failure of the service: retry later
    │   └── RecordsUnavailable     503  a record of the decision log cannot be written or read
    ├── StoreUnavailable           a database is unreachable: records wait in the segments
    ├── EntryRejected              the decision log's database refuses rows for good
    └── ConfigurationError         the operator's files or settings; stops the start or the command
        ├── NotNow                 the same may succeed later: an address is held, a disk is full
        └── LibraryError           a policy, notice, payers or clients file: file, field and repair

A message describes the form of the input, never its content: messages are logged, and values may be
a patient's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class CovercardError(Exception):
    """Root of the errors that this program raises."""


class RequestError(CovercardError):
    """An invalid call; `problems` are (place, expected) pairs.

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
        """HTTP headers of the answer."""
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
    """No JSON; in CRD 2.2 also a violation of CDS Hooks or FHIR."""


class UnprocessableRequest(RequestError):
    """JSON that violates CDS Hooks or FHIR; CRD 2.0.1 requires a 422."""

    status = 422


class UnhandledPayer(RequestError):
    """No single coverage of a configured payer; CRD 2.2 requires a 400.

    `payers` are the sent identifiers, "system|value", safe to log.
    """

    issue_code = "business-rule"

    def __init__(self, expected: str, place: str, payers: Sequence[str] = ()) -> None:
        super().__init__(expected, place)
        self.payers = tuple(payers)


class PreconditionFailed(RequestError):
    """Required data were neither prefetched nor readable."""

    status = 412
    issue_code = "incomplete"


class Unauthenticated(RequestError):
    """An unknown client, or an invalid `claim` of its token, which is not quoted.

    `claim` is None without a token.
    """

    status = 401
    issue_code = "login"

    def __init__(self, claim: str | None, problem: str) -> None:
        self.claim = claim
        self.why = f"{claim}: {problem}" if claim else problem
        """For the log: the answer says the same for every reason, and so helps nobody to guess."""
        super().__init__("expected Authorization: Bearer with a valid token of a registered client")

    @property
    def headers(self) -> Mapping[str, str]:
        # RFC 6750 §3: no error code for a request without a token.
        error = ', error="invalid_token"' if self.claim else ""
        return {"WWW-Authenticate": f'Bearer realm="covercard"{error}'}


class RejectedAccessToken(Unauthenticated):
    """An access token that this service did issue: its client is told why it no longer counts."""

    @property
    def headers(self) -> Mapping[str, str]:
        said = f'error="invalid_token", error_description="{self.why}"'
        return {"WWW-Authenticate": f'Bearer realm="covercard", {said}'}


class InsufficientScope(RequestError):
    """A valid access token without the scope that the operation needs (RFC 6750 §3.1)."""

    status = 403
    issue_code = "forbidden"

    def __init__(self, needed: str) -> None:
        super().__init__(f"expected an access token with the scope {needed}")
        self.needed = needed

    @property
    def headers(self) -> Mapping[str, str]:
        said = f'error="insufficient_scope", scope="{self.needed}"'
        return {"WWW-Authenticate": f'Bearer realm="covercard", {said}'}


class OAuthRefusal(RequestError):
    """A token request that gets no token; `error` is a code of RFC 6749 §5.2.

    `why` is for the log where the answer does not tell it, and quotes nothing.
    """

    def __init__(self, error: str, description: str, why: str = "") -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.why = why or description

    @property
    def response_status(self) -> int:
        return 401 if self.error == "invalid_client" else 400


class TooManyCalls(RequestError):
    """A limit of one client exceeded; `retry_after` in seconds.

    `limit` is its name for the log; `client` the client's, where the token was not looked at.
    """

    status = 429
    issue_code = "throttled"

    def __init__(self, expected: str, retry_after: int, limit: str, client: str = "") -> None:
        super().__init__(expected)
        self.retry_after = retry_after
        self.limit = limit
        self.client = client

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after)}


class UnsupportedMediaType(RequestError):
    status = 415
    issue_code = "not-supported"


class BodyTooLarge(RequestError):
    status = 413
    issue_code = "too-long"


class BodyTooSlow(RequestError):
    """A body that did not come in time."""

    status = 408
    issue_code = "timeout"

    def __init__(self) -> None:
        super().__init__("the body did not come in time")


class UnknownService(RequestError):
    status = 404
    issue_code = "not-found"


class UnknownPolicy(RequestError):
    status = 404
    issue_code = "not-found"


class UnknownQuestionnaire(RequestError):
    """No form of this canonical is on file, in whichever version."""

    status = 404
    issue_code = "not-found"


class UnknownValueSet(RequestError):
    """No value set of this canonical is on file, or not in this version."""

    status = 404
    issue_code = "not-found"


class FetchFailed(CovercardError):
    """A failed query to the EHR; `outcome` is a value of ehr.fetch_report.Outcome."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class PayerDataUnavailable(CovercardError):
    """The payer's records could not be read in time; `why` is the type of the error."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class UnknownContext(RequestError):
    """No answer with this coverage-assertion-id is on record for this client."""

    status = 404
    issue_code = "not-found"


class NothingPackaged(RequestError):
    """No form could be told for anything that a package was asked for (DTR 2.2 spec-130).

    `issues` are FHIR's, one for each parameter.
    """

    status = 422

    def __init__(self, issues: Sequence[Mapping[str, object]]) -> None:
        super().__init__("expected an order or a form that is known here")
        self.issues = tuple(issues)

    def operation_outcome(self) -> dict[str, object]:
        issues = [{**issue, "severity": "error"} for issue in self.issues]
        return {"resourceType": "OperationOutcome", "issue": issues}


class UnknownForm(NothingPackaged):
    """Each form that a package was asked for is one that is not on file."""

    status = 404


class NotExpandable(RequestError):
    """A value set with prefixes or ranges, or with more codes than one answer may hold."""

    status = 422
    issue_code = "too-costly"


class Unavailable(CovercardError):
    """A temporary failure of the service; `retry_after` in seconds.

    `limit` is the name of a limit of all clients that is reached, for the log; else None.
    """

    status: ClassVar[int] = 503

    def __init__(self, problem: str, retry_after: int = 5, limit: str | None = None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after
        self.limit = limit

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after)}

    def operation_outcome(self) -> dict[str, object]:
        """This error as a FHIR OperationOutcome."""
        return operation_outcome("transient", [("", str(self))])


class RecordsUnavailable(Unavailable):
    """The decision log cannot be written or read; an unrecorded answer is not sent (CRD 2.2.1
    found-37).
    """


class StoreUnavailable(CovercardError):
    """A database is unreachable or failed to write; the records wait in the segments."""


class EntryRejected(CovercardError):
    """The database is available and rejects these rows for good."""


class ConfigurationError(CovercardError):
    """A wrong setting or file of the operator; the message has its name and the fix.

    `exit_code` is that of a command which it ends: 2 says that trying again does not help.
    """

    exit_code: ClassVar[int] = 2


class NotNow(ConfigurationError):
    """Setting that cannot be followed now, and may be later: an address is held, a disk is full."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One error in a library file: place, problem and fix."""

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
    """A wrong policy, notice, payers or clients file, with all findings."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = tuple(findings)
