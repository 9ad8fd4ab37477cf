"""Input of $log-questionnaire-errors: what went wrong with a form at a client (DTR 2.2 oper-1).

Clients must not write patients' data into it, and some will: it is kept like a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cards.questionnaires import Forms
from service.crd.call_limits import CallLimits
from service.crd.hook_request import parse_json
from service.crd.validation import check_depth
from service.dtr.adaptive_forms import AdaptiveForms
from service.errors import MalformedRequest, UnknownQuestionnaire
from service.fhir.document import without_nulls

MOST_ISSUES = 50
MOST_FORMS = 10
LONGEST_TEXT = 1000
"""Characters of an issue that are kept."""

_SEVERITIES = frozenset({"fatal", "error", "warning", "information"})


@dataclass(frozen=True, slots=True)
class FormError:
    """An issue with a form. `form` is its id, `canonical` as the client named it."""

    form: str
    canonical: str
    severity: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class FormErrorReader:
    """Reading of the operation's input; the forms are those on file, in any version."""

    forms: Forms
    adaptive_forms: AdaptiveForms
    limits: CallLimits

    def read(self, body: bytes) -> list[FormError]:
        """The issues in the Parameters resource in `body`, each once for each form that it names.

        Raises MalformedRequest (400); UnknownQuestionnaire (404) for a form that is none of ours.
        """
        self.limits.check_values(body)
        data = parse_json(body)
        check_depth(data)
        data = without_nulls(data, body)
        parameters = data.get("parameter") if isinstance(data, Mapping) else None
        if not isinstance(parameters, list) or data.get("resourceType") != "Parameters":
            raise MalformedRequest("expected a Parameters resource")
        forms = dict(self._forms(parameters))
        if len(forms) > MOST_FORMS:
            raise MalformedRequest(f"expected at most {MOST_FORMS} forms", "parameter")
        issues = list(_issues(parameters))
        if not forms or not issues:
            raise MalformedRequest(
                "expected the parameters questionnaire and operationOutcome", "parameter"
            )
        if len(issues) > MOST_ISSUES:
            raise MalformedRequest(f"expected at most {MOST_ISSUES} issues", "parameter")
        return [FormError(form, name, *issue) for name, form in forms.items() for issue in issues]

    def _forms(self, parameters: list[Any]) -> Iterator[tuple[str, str]]:
        for i, parameter in enumerate(parameters):
            if _name(parameter) != "questionnaire":
                continue
            canonical, place = parameter.get("valueCanonical"), f"parameter[{i}].valueCanonical"
            if not isinstance(canonical, str):
                raise MalformedRequest("expected a canonical", place)
            url = canonical.partition("|")[0]
            adaptive = self.adaptive_forms.by_canonical(url)
            form = adaptive.form if adaptive else self.forms.by_canonical(url)
            if form is None:
                raise UnknownQuestionnaire("expected a form of this payer", place)
            yield canonical, form.id


def _name(parameter: Any) -> str:
    """A parameter's name: 2.0.1 and 2.2 write it with letters of another case."""
    return str(parameter.get("name")).lower() if isinstance(parameter, Mapping) else ""


def _issues(parameters: list[Any]) -> Iterator[tuple[str, str, str]]:
    """Severity, code and text of each issue."""
    for i, parameter in enumerate(parameters):
        if _name(parameter) != "operationoutcome":
            continue
        outcome = parameter.get("resource")
        issues = outcome.get("issue") if isinstance(outcome, Mapping) else None
        if not isinstance(issues, list):
            raise MalformedRequest("expected an OperationOutcome", f"parameter[{i}].resource")
        for issue in issues:
            if not isinstance(issue, Mapping):
                raise MalformedRequest("expected an issue", f"parameter[{i}].resource.issue")
            severity, code = str(issue.get("severity")), str(issue.get("code"))
            details = issue.get("details")
            text = details.get("text") if isinstance(details, Mapping) else None
            said = " ".join(str(t) for t in (issue.get("diagnostics"), text) if t)
            kept = severity if severity in _SEVERITIES else "error"
            yield kept, code[:64], said[:LONGEST_TEXT]
