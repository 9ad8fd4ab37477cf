"""CDS Hooks 2.0 structures of an answer; unset members are absent from the JSON, never null."""

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
    """A source. `label` is the insurer's name as on the member's card (CRD 2.2.1 resp-4)."""

    label: str
    topic: Coding
    url: str | None = None


class Action(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """An action. `resource` is a FHIR resource as plain JSON, or its received bytes."""

    type: Literal["create", "update", "delete"]
    description: str
    resource: Json | dict[str, msgspec.Raw] | msgspec.Raw | None = None
    resource_id: str | None = None
    extension: Json | None = None


class Suggestion(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Without `actions` only beside the link of a SMART app (CRD 2.2.1 resp-72)."""

    label: str
    uuid: str
    actions: list[Action] = []


class Card(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A card. `summary` is under 140 characters, `detail` is GitHub-flavored Markdown."""

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

    `cards` is always present (CDS Hooks 2.0: empty without a card), each one a `Card` in JSON; an
    empty `system_actions` is encoded by the CRD version (`CrdVersion`).
    """

    cards: list[msgspec.Raw]
    system_actions: list[Action] | msgspec.UnsetType


def associated_resources(references: list[str]) -> Json | None:
    """The card extension with the resources of a card (CRD 2.2.1 dev-25), None without any."""
    if not references:
        return None
    return {"davinci-crd.associated-resource": [{"reference": r} for r in references]}
