"""CRD version as one object, with all differences between answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cards.coverage_information import CoverageInformation, DocNeeded
from cards.questionnaires.response_draft import DtrShape
from cards.texts.wording import ReasonLabels
from cards.vocabulary import Json
from service.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrdVersion:
    """One version of CRD.

    `name` is "major.minor", as in `davinci-crd.version` and `davinci-crd.requestedVersion`.
    `refusal` is the error for JSON that is no CDS Hooks or no FHIR. `needs_one_coverage`: a call
    without exactly one coverage of a configured payer is refused.
    `topic_system` is the code system of a card's `source.topic`, `dtr` the shape of
    DTR's responses that goes with it. `doc_needed` has the version's code for every DocNeeded.
    `coverage_information` writes the extension, as FHIR JSON; the labels tell its reasons apart.
    `task_tells_after_completion` says whether a Task has an input for what becomes of the completed
    form, `empty_system_actions` whether an answer without systemActions has an empty list of them,
    `launch_has_suggestion` whether a SMART app's card has a suggestion, which does nothing.
    """

    name: str
    refusal: type[RequestError]
    needs_one_coverage: bool
    topic_system: str
    dtr: DtrShape
    doc_needed: Mapping[DocNeeded, str]
    coverage_information: Callable[[CoverageInformation, ReasonLabels], Json]
    task_tells_after_completion: bool
    empty_system_actions: bool
    launch_has_suggestion: bool
