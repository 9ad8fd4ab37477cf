"""CDS Hooks 2.0's words for an answer; what is unset is left out of the JSON, never null."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Json = dict[str, Any]


class Coding(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    code: str
    system: str
    display: str | None = None


class Link(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`url` is absolute http(s) (CRD 2.2.1 resp-19); a "smart" one launches an app, which gets
    `app_context` (CDS Hooks 2.0: Link)."""

    label: str
    url: str
    type: Literal["absolute", "smart"]
    app_context: str | None = None


class Source(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`label` is the insurer's name as on the member's card (CRD 2.2.1 resp-4)."""

    label: str
    topic: Coding
    url: str | None = None


class Action(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`resource` is a FHIR resource as plain JSON, or its bytes as received."""

    type: Literal["create", "update", "delete"]
    description: str
    resource: Json | dict[str, msgspec.Raw] | msgspec.Raw | None = None
    resource_id: str | None = None
    extension: Json | None = None


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    label: str
    uuid: str
    actions: list[Action]


class Card(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`summary` is under 140 characters, `detail` is GitHub-flavoured Markdown."""

    uuid: str
    summary: str
    indicator: Literal["info", "warning"]
    source: Source
    detail: str | None = None
    links: list[Link] = []
    suggestions: list[Suggestion] = []
    selection_behavior: Literal["at-most-one", "any"] | None = None
    override_reasons: list[Coding] = []
    extension: Json | None = None


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a 200.

    `cards` is always there (CDS Hooks 2.0: an empty list says that there is nothing to show);
    `system_actions` is written as the version of CRD has it where it is empty (`CrdVersion`).
    """

    cards: list[Card]
    system_actions: list[Action] | msgspec.UnsetType

    @property
    def actions(self) -> list[Action]:
        """The systemActions, none where the member is left out."""
        return [] if isinstance(self.system_actions, msgspec.UnsetType) else self.system_actions


def associated_resources(references: list[str]) -> Json | None:
    """The card extension that names the resources a card is about (CRD 2.2.1 dev-25), if any."""
    if not references:
        return None
    return {"davinci-crd.associated-resource": [{"reference": r} for r in references]}
