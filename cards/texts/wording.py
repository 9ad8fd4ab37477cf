"""The tables of wordings, one model a file: each text with what is filled into it.

A table's keys that are the decision's own words (why a form was rejected, why nothing was
determined) are held to the decision where the tables are loaded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel

from cards.texts.placeholders import Placeholders
from cards.texts.wording_fields import Model, Sentence, Text

# One type for each set of placeholders. `needed` are those without which a text says nothing.
_Reason = Annotated[Text, Placeholders("reason", needed=True)]
_CodeBecause = Annotated[Text, Placeholders("code", "because", needed=True)]
_Canonical = Annotated[Text, Placeholders("canonical", needed=True)]
_Title = Annotated[Text, Placeholders("title", needed=True)]
_Name = Annotated[Text, Placeholders("name", needed=True)]
_FormDay = Annotated[Text, Placeholders("form", "day", needed=True)]
_NoticeBecause = Annotated[Text, Placeholders("notice", "because", needed=True)]
_TitleBecause = Annotated[Text, Placeholders("title", "because", needed=True)]
_Day = Annotated[Text, Placeholders("day", needed=True)]
_Covered = Annotated[Text, Placeholders("covered", needed=True)]
_Insurer = Annotated[Text, Placeholders("insurer", needed=True)]
_PayerWhy = Annotated[Text, Placeholders("payer", "why")]
_ProgramLabel = Annotated[Text, Placeholders("program", "label", needed=True)]
_NameValue = Annotated[Text, Placeholders("name", "value", needed=True)]
_ToCall = Annotated[Text, Placeholders("to", "call", needed=True)]
_OfProgram = Annotated[Text, Placeholders("program")]
_ServicesOfProgram = Annotated[Text, Placeholders("services", "codes", "program")]
_Count = Annotated[Text, Placeholders("count")]
_Services = Annotated[Text, Placeholders("services", "codes")]
_ProgramSince = Annotated[Text, Placeholders("program", "since")]
_Number = Annotated[Text, Placeholders("number")]
_NumberDecided = Annotated[Text, Placeholders("number", "decided")]
_NumberServicesUntil = Annotated[Text, Placeholders("number", "services", "until")]


class Topics(Model):
    """Displays of a card's source.topic, by code."""

    guideline: Sentence
    claim: Sentence
    insurance: Sentence
    optional_alternatives: Sentence = Field(alias="therapy-alternatives-opt")
    required_alternatives: Sentence = Field(alias="therapy-alternatives-req")

    def of(self, code: str) -> str:
        """The display of a code."""
        by_code: dict[str, str] = self.model_dump(by_alias=True)
        return by_code[code]


class CoverageCorrectionTexts(Model):
    """The card that offers the days of a coverage by the payer's records."""

    summary: Sentence
    detail: Sentence
    button: Sentence
    action: Sentence


class ReasonLabels(Model):
    """Put before the reasons of one coverage information, where there are several."""

    coverage: _Reason
    authorization: _Reason
    form: _Reason
    assumption: _Reason


class NotChecked(Model):
    """The card on orders that nothing can be said about."""

    one: Sentence
    several: _Count
    detail: Sentence


class WhyRejected(Model):
    """Reasons of rejected forms; its fields are the decision's objections."""

    not_completed: Sentence
    unaddressed: Sentence
    no_patient: Sentence
    no_order: Sentence
    service: Sentence
    not_dated: Sentence
    edition: Sentence
    future: Sentence
    after_service: Sentence
    too_old: Sentence
    refusal: Sentence
    choice: Sentence
    signature: Sentence
    open: Sentence

    def of(self, why: str) -> str:
        said: str = getattr(self, why)
        return said


class Labels(Model):
    """Before a card's first paragraphs: what to do, what not, whom to call."""

    do: Sentence
    do_not: Sentence
    call: Sentence
    send: Sentence
    on_file: Sentence


class OverrideReason(Model):
    """A reason that a clinician may give for going on all the same."""

    code: Text
    display: Sentence


class UpdateTexts(Model):
    """Descriptions of the update with coverage information, by the kind of what is updated."""

    order: _Covered
    appointment: _Covered
    visit: _Covered


class Phrases(Model):
    """Short phrases on cards: phrases.yaml"""

    topics: Topics
    modifier_fits: _CodeBecause
    modifier_unfit: _CodeBecause
    policy_link: _Title
    notice_link: _Name
    notice_expired: _FormDay
    notice_expires: _FormDay
    rejected_forms: _NoticeBecause
    documentation_on_file: _Title
    documentation_rejected: _TitleBecause
    why_rejected: WhyRejected
    coverage_correction: CoverageCorrectionTexts
    launched: Sentence
    order_instead: _Name
    order_too: _Name
    change_order: _Name
    delete_order: Sentence
    create_order: _Name
    create_form: _Title
    create_response: Sentence
    reasons: ReasonLabels
    day_assumed: _Day
    open_days_assumed: _Day
    update: UpdateTexts
    coverage_notes: dict[str, _Insurer]
    unread_because: dict[str, Sentence]
    not_checked: dict[str, NotChecked]
    several_notices_summary: _Services
    button_of_program: _ProgramLabel
    labels: Labels
    contact: _NameValue
    send_or_call: _ToCall
    override_reasons: Annotated[tuple[OverrideReason, ...], Field(strict=False, min_length=1)]


class Undetermined(Model):
    """Coverage information without a determination.

    `reason` is for staff who read the order later, `missing` what would settle it (CRD's
    info-needed), `reason_code` a code of CRD's coverageAssertionReasons, `instructions` what staff
    can do (CRD wants a detail beside what is missing and has no code of its own).
    """

    reason: _PayerWhy
    instructions: Sentence | None = None
    missing: Text | None = None
    reason_code: Text | None = None
    covered: Literal["covered", "not-covered", "conditional"] = "conditional"


class UndeterminedTexts(RootModel[dict[str, Undetermined]]):
    """Texts by reason without a determination: undetermined.yaml"""

    def __getitem__(self, reason: str) -> Undetermined:
        return self.root[reason]

    def get(self, reason: str) -> Undetermined | None:
        return self.root.get(reason)


class CaveatText(Model):
    """Texts where a policy speaks of the order but does not settle it.

    `summary`, `statement` and `do` are the card's; the rest is as `Undetermined` has it.
    """

    summary: _ServicesOfProgram
    statement: _OfProgram
    do: _OfProgram
    reason: _OfProgram
    instructions: Sentence | None = None
    missing: Text | None = None
    reason_code: Text | None = None
    covered: Literal["covered", "not-covered", "conditional"] = "conditional"


class CaveatTexts(RootModel[dict[str, CaveatText]]):
    """Texts of each caveat: caveats.yaml"""

    def __getitem__(self, caveat: str) -> CaveatText:
        return self.root[caveat]


class PackageTexts(Model):
    """Messages of $questionnaire-package beside the forms: packages.yaml"""

    form_unknown: Sentence
    context_unknown: Sentence
    context_settled: Sentence
    order_kind: Sentence
    order_ended: Sentence
    order_gap: _Reason
    order_settled: Sentence
    payer: Sentence
    coverage_inactive: Sentence
    program_not_told: Sentence
    unchanged: _Title
    dependency_unknown: _Canonical


class Contradictions(Model):
    """Contradictions between the payer's records and the call."""

    program: _ProgramSince
    in_force: _ProgramSince
    ended: _ProgramSince
    other_coverage: _ProgramSince

    def of(self, what: str) -> str:
        said: str = getattr(self, what)
        return said


class PayerReasons(Model):
    """Reasons in coverage information, by CRD's code."""

    out_of_network: Sentence = Field(alias="auth-out-network")
    gold_card: Sentence = Field(alias="gold-card")


class AuthorizationCard(Model):
    """The card on an authorization on file."""

    summary: _NumberServicesUntil
    detail: _NumberServicesUntil


class PayerTexts(Model):
    """Statements from the payer's records: payer.yaml"""

    since: _Day
    until: _Day
    decided: _Day
    numbered: _Number
    contradictions: Contradictions
    situations: dict[str, Sentence]
    authorization: dict[str, _NumberDecided]
    out_of_network: Sentence
    reasons: PayerReasons
    unreachable: Sentence
    approval_card: AuthorizationCard
    approval_without_number: Sentence
    authorization_card: AuthorizationCard
