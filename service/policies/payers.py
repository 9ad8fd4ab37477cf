"""Payers of this service, recognized by their identifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cards.texts.placeholders import wrong
from service.decision import coverage as core
from service.decision.coverage import Payer, PolicyLink
from service.decision.facts import Facts
from service.decision.order import Code
from service.decision.programs import ProgramFinding, ProgramTable
from service.policies.fields import (
    EachOnce,
    Id,
    Model,
    Several,
    Some,
    Text,
    Told,
    Url,
    Write,
)
from service.policies.program_table import ProgramId


class PayerIdentifier(Model):
    """An identifier of a payer in requests."""

    system: Annotated[str, Field(pattern=r"^\S+$"), Write("the identifier's system as a URI")]
    value: Annotated[
        str,
        Field(pattern=r"^\S(.*\S)?$"),
        Write("the identifier's value, quoted, without blanks around it"),
    ]


class ContactEntry(Model):
    """The contact for an answer."""

    name: Text
    system: Literal["phone", "fax", "email", "url", "sms", "other"]
    value: Text

    def core(self) -> core.Contact:
        return core.Contact(self.name, self.system, self.value)


class Requests(Model):
    """Address of requests for a decision before the service."""

    send_to: Text = Field(description="An address, a fax number or a page, as words.")
    call: Told[Text] = Field(None, description="Who knows about them: a telephone number.")


class AppliedPolicy(Model):
    """A policy applied by the payer."""

    id: Id
    url: Told[Url] = Field(None, description="The payer's own page of the policy.")
    programs: Told[Annotated[Some[ProgramId], EachOnce]] = Field(
        None,
        description="The programs that it speaks of by this policy, ids of the programs' file;"
        " Medicare Advantage where left out.",
    )

    def link(self) -> PolicyLink:
        programs = frozenset(self.programs) if self.programs is not None else None
        return PolicyLink(self.id, self.url, programs)


class PayerEntry(Model):
    """A payer of this service."""

    identifier: Told[PayerIdentifier] = Field(
        None, description="What the payer is recognized by; where it has several: identifiers."
    )
    identifiers: Several[PayerIdentifier] = Field(
        (), description="All of the payer's identifiers; the first is the one that is sent."
    )
    name: Text = Field(description="As on the member's card.")
    line_of_business: ProgramId = Field(
        description="Used where Coverage.type does not tell the program; an id of the programs'"
        " file, or not_told."
    )
    member_systems: Told[Some[Text]] = Field(
        None, description="Identifier systems whose values are member numbers of this payer."
    )
    contact: Told[ContactEntry] = None
    requests: Told[Requests] = None
    policies: Several[AppliedPolicy]

    @model_validator(mode="after")
    def _has_identifiers_once(self) -> PayerEntry:
        if (self.identifier is None) == (not self.identifiers):
            raise wrong(
                "the payer has no identifier, or both identifier and identifiers",
                "write identifier, or identifiers with a list",
            )
        return self

    def told(self) -> Iterator[tuple[tuple[str | int, ...], PayerIdentifier]]:
        """The identifiers with their places in the entry; the first is the one sent."""
        if self.identifier is not None:
            yield ("identifier",), self.identifier
        yield from ((("identifiers", i), told) for i, told in enumerate(self.identifiers))

    def payer(self) -> Payer:
        told = self.contact
        first, *others = (identifier for _, identifier in self.told())
        return Payer(
            system=first.system,
            identifier=first.value,
            other_identifiers=tuple((o.system, o.value) for o in others),
            name=self.name,
            line_of_business=self.line_of_business,
            policies=tuple(p.link() for p in self.policies),
            contact=told.core() if told else None,
            requests=(self.requests.send_to, self.requests.call) if self.requests else None,
            member_systems=frozenset(self.member_systems or ()),
        )


class PayersFile(Model):
    """The payers file."""

    operator: Text = Field(description="The insurer's name where a request has no coverage.")
    operator_contact: Told[ContactEntry] = Field(
        None, description="Whom to ask where a request has no coverage."
    )
    payers: Some[PayerEntry]


class Payers:
    """The payers of the payers file.

    `operator_name` is the insurer's name for a request without a coverage.
    """

    def __init__(
        self,
        operator_name: str,
        payers: Sequence[Payer],
        programs: ProgramTable,
        operator_contact: core.Contact | None = None,
    ) -> None:
        self.operator_contact = operator_contact
        self.operator_name = operator_name
        self.programs = programs
        self._payers = tuple(payers)
        self._by_identifier = {i: p for p in payers for i in p.identifiers}

    @classmethod
    def of(cls, file: PayersFile, programs: ProgramTable) -> Payers:
        """The payers of a file with which nothing is wrong, and the programs that it names."""
        told = file.operator_contact
        payers = [entry.payer() for entry in file.payers]
        return cls(file.operator, payers, programs, told.core() if told else None)

    def __iter__(self) -> Iterator[Payer]:
        return iter(self._payers)

    def by_identifier(self, system: str, value: str) -> Payer | None:
        """The payer with this identifier, compared exactly, or None."""
        return self._by_identifier.get((system, value))

    def program_of(
        self, types: Sequence[Code], payer: Payer | None, facts: Facts | None = None
    ) -> ProgramFinding:
        """The program that a coverage's types, its payer and its own facts tell together."""
        if payer is None:
            return self.programs.find(types, facts=facts)
        return self.programs.find(
            types, payer.line_of_business, payer.names, payer.identifier, facts
        )
