"""The part of a policy's outcome that names what is offered besides the determination."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.decision import offers as core
from service.decision.order import Code
from service.fhir.systems import CPT, HCPCS
from service.policies.fields import (
    EachOnce,
    Id,
    Model,
    Several,
    Some,
    Template,
    Text,
    Told,
    Url,
    Write,
)

Hook = Literal[
    "appointment-book",
    "encounter-discharge",
    "encounter-start",
    "order-dispatch",
    "order-select",
    "order-sign",
]
OrderingHook = Literal["order-select", "order-sign"]
EVERY_HOOK: tuple[Hook, ...] = (
    "appointment-book",
    "encounter-discharge",
    "encounter-start",
    "order-dispatch",
    "order-select",
    "order-sign",
)
ORDERING: tuple[OrderingHook, ...] = ("order-select", "order-sign")
"""Where an order can still become another (CRD 2.2.1: propose alternate, additional orders)."""
WHERE_FORMS_HELP: tuple[Hook, ...] = ("appointment-book", "order-dispatch", "order-sign")

Hooks = Annotated[Several[Hook], EachOnce]
OrderingHooks = Annotated[Several[OrderingHook], EachOnce]
_SYSTEMS = {"cpt": CPT, "hcpcs": HCPCS}


class ServiceOffered(Model):
    """One service that a button orders."""

    system: Literal["cpt", "hcpcs"]
    code: Annotated[
        str,
        Field(pattern=r"^[A-Z0-9]{5}$"),
        Write("a code of five capital letters and digits, quoted"),
    ]
    name: Text = Field(description="A short name in our own words, never the CPT descriptor.")
    resource: Literal["ServiceRequest", "DeviceRequest"] = Field(
        "ServiceRequest", description="The FHIR type of the order."
    )

    def core(self) -> core.OfferedService:
        code = Code(_SYSTEMS[self.system], self.code)
        return core.OfferedService(code, self.name, self.resource)


class _Card(Model):
    summary: Template = Field(
        description="The card's summary: under 140 characters once filled in."
    )
    detail: Template = Field(description="The card's text.")


class InstructionsOffered(_Card):
    """Instructions: a card without link or button."""

    hooks: Hooks = Field(EVERY_HOOK, description="Where it is shown; everywhere if left out.")

    def core(self) -> core.Instructions:
        return core.Instructions(self.summary, self.detail, frozenset(self.hooks))


class LinkOffered(Model):
    """A page to be read."""

    label: Text
    url: Url


class ReadingOffered(_Card):
    """A reading: a card with the policy's page, and others."""

    links: Several[LinkOffered] = Field((), description="Further pages, after the policy's own.")
    hooks: Hooks = Field(EVERY_HOOK, description="Where it is shown; everywhere if left out.")

    def core(self) -> core.Reading:
        links = tuple((link.label, link.url) for link in self.links)
        return core.Reading(self.summary, self.detail, links, frozenset(self.hooks))


class AlternativesOffered(_Card):
    """Services in place of the one ordered."""

    services: Some[ServiceOffered] = Field(description="One button each.")
    tried_first: bool = Field(False, description="Whether they have to be tried before.")
    replaces: bool = Field(
        False,
        description="Whether the order is deleted and another created; else its code is changed.",
    )
    hooks: OrderingHooks = Field(ORDERING, description="Where it is offered.")

    def core(self) -> core.Alternatives:
        return core.Alternatives(
            self.summary,
            self.detail,
            tuple(s.core() for s in self.services),
            self.tried_first,
            self.replaces,
            frozenset(self.hooks),
        )


class CompanionsOffered(_Card):
    """Orders that belong beside the one that was made."""

    services: Some[ServiceOffered] = Field(description="One button each.")
    hooks: OrderingHooks = Field(ORDERING, description="Where it is offered.")

    def core(self) -> core.Companions:
        services = tuple(s.core() for s in self.services)
        return core.Companions(self.summary, self.detail, services, frozenset(self.hooks))


class AppOffered(_Card):
    """A SMART app to be launched from the card."""

    label: Text = Field(description="The link's words.")
    name: Id = Field(description="The app's name in the clients file.")
    launch: Told[Url] = Field(None, description="The launch URL of the payer's own app.")
    hooks: Hooks = Field(EVERY_HOOK, description="Where it is offered; everywhere if left out.")

    def core(self) -> core.App:
        return core.App(
            self.summary, self.detail, self.label, self.name, self.launch, frozenset(self.hooks)
        )


class FormOffered(_Card):
    """A form to be filled in."""

    form: Id = Field(description="The id of a form on file.")
    label: Text = Field(description="The button's words.")
    description: Template = Field(description="What the button does, and the task's description.")
    reason: Template = Field(description="Why the form is to be filled in.")
    after_completion: Literal["prior-auth-include", "initial-claim-include", "all-claims-include"]
    hooks: Hooks = Field(WHERE_FORMS_HELP, description="Where it is offered.")

    def core(self) -> core.OfferedForm:
        return core.OfferedForm(
            self.summary,
            self.detail,
            self.form,
            self.label,
            self.description,
            self.reason,
            self.after_completion,
            frozenset(self.hooks),
        )


class QuestionnaireTask(Model):
    """The card of a policy's own form: its button creates a Task, in the primary hooks."""

    summary: Template = Field(
        description="The card's summary: under 140 characters once filled in."
    )
    label: Text = Field(description="The button's words.")
    description: Template = Field(description="What the button does, and the task's description.")
    after_completion: Literal["prior-auth-include", "initial-claim-include", "all-claims-include"]

    def core(self, form: str, reason: str) -> core.OfferedForm:
        """The offer of the form with this id, asked for because of `reason`."""
        return core.OfferedForm(
            self.summary,
            reason,
            form,
            self.label,
            self.description,
            reason,
            self.after_completion,
            frozenset(WHERE_FORMS_HELP),
        )


class OffersEntry(Model):
    """Offers of an outcome beside the determination, each a card of its kind."""

    alternatives: Several[AlternativesOffered] = ()
    companions: Several[CompanionsOffered] = ()
    forms: Several[FormOffered] = ()
    apps: Several[AppOffered] = ()
    readings: Several[ReadingOffered] = ()
    instructions: Several[InstructionsOffered] = ()

    def core(self) -> core.Offers:
        return core.Offers(
            alternatives=tuple(o.core() for o in self.alternatives),
            companions=tuple(o.core() for o in self.companions),
            forms=tuple(o.core() for o in self.forms),
            apps=tuple(o.core() for o in self.apps),
            readings=tuple(o.core() for o in self.readings),
            instructions=tuple(o.core() for o in self.instructions),
        )
