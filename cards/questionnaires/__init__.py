"""Forms of the notice card: SDC Questionnaires, one JSON file each, and their responses.

A form's linkIds keep their meaning within a major version.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

from cards.vocabulary import Json

CANONICAL_BASE = "https://covercard.example/fhir/Questionnaire"
"""Before the id in a form's canonical; the name is reserved for examples and resolves nowhere."""

ADAPTIVE_SUFFIX = "-adaptive"
"""After the id of a form: the adaptive form that is made of it."""

_MAY_BE_OFF = frozenset(
    {"http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-enableWhenExpression"}
)
"""Extensions by which a question is asked only under a condition."""


@dataclass(frozen=True, slots=True)
class Form:
    """One published form. `resource` is its Questionnaire and must not be changed."""

    id: str
    url: str
    version: str
    title: str
    changed: datetime
    resource: Json

    @property
    def canonical(self) -> str:
        """The canonical with its version: `url|version`."""
        return f"{self.url}|{self.version}"

    @property
    def adaptive_canonical(self) -> str:
        """The canonical, with its version, of the adaptive form that is made of this one."""
        return f"{self.url}{ADAPTIVE_SUFFIX}|{self.version}"

    def link_ids(self) -> Iterator[str]:
        """Every item's linkId, those of inner items included."""
        pending: list[Any] = list(self.resource.get("item", ()))
        for item in pending:
            yield item["linkId"]
            pending.extend(item.get("item", ()))

    def required_questions(self) -> Iterator[str]:
        """The linkIds of the questions that need an answer, whatever the others say."""
        pending: list[Any] = list(self.resource.get("item", ()))
        for item in pending:
            extensions = {extension["url"] for extension in item.get("extension", ())}
            if "enableWhen" in item or _MAY_BE_OFF & extensions:
                continue
            if item.get("required") is True and item["type"] not in ("group", "display"):
                yield item["linkId"]
            pending.extend(item.get("item", ()))


@dataclass(frozen=True, slots=True)
class Forms:
    """All forms, by id or canonical."""

    by_id: Mapping[str, Form]
    other_bases: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Form]:
        return iter(self.by_id.values())

    def get(self, form_id: str) -> Form | None:
        return self.by_id.get(form_id)

    @property
    def served_at(self) -> str:
        """The base URL of the forms, without a trailing slash; else the canonicals'."""
        return self.other_bases[0] if self.other_bases else CANONICAL_BASE

    def canonicals_of(self, form: Form) -> frozenset[str]:
        """Every canonical that names the form, with and without its version."""
        urls = {f"{base}/{form.id}" for base in (CANONICAL_BASE, *self.other_bases)}
        return frozenset(urls | {f"{url}|{form.version}" for url in urls})

    def by_canonical(self, canonical: str) -> Form | None:
        """The form of a canonical, in its version if it has one, or None."""
        found, version = self._named(canonical)
        return found if found and version in ("", found.version) else None

    def answered_by(self, canonical: str) -> Form | None:
        """The form of a response's `questionnaire`, in any version with the same linkIds."""
        found, version = self._named(canonical)
        same = found is not None and (not version or _major(version) == _major(found.version))
        return found if same else None

    def _named(self, canonical: str) -> tuple[Form | None, str]:
        url, _, version = canonical.strip().partition("|")
        base, _, form_id = url.rpartition("/")
        known = base == CANONICAL_BASE or base in self.other_bases
        return self.by_id.get(form_id) if known else None, version


def _major(version: str) -> str:
    return version.partition(".")[0]


@functools.cache
def form_ids() -> frozenset[str]:
    """The ids of all forms, as in notices."""
    return frozenset(_files())


@functools.cache
def _files() -> Mapping[str, Json]:
    folder = resources.files("cards.questionnaires")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    return {f.name.removesuffix(".json"): json.loads(f.read_text("utf-8")) for f in files}


def load_forms(further: Iterable[Mapping[str, Any]] = (), served_at: Iterable[str] = ()) -> Forms:
    """All forms. A form's canonical is fixed: it stays where the service moves.

    `further` are Questionnaires from elsewhere: each has an id, a version, a title and a date.
    `served_at` are base URLs, without a trailing slash, below which the forms have been found:
    canonicals there are accepted, too.
    """
    read = [*_files().values(), *further]
    forms = (_form(each, f"{CANONICAL_BASE}/{each['id']}") for each in read)
    below = ("fhir", "fhir/2.0", "fhir/2.2")
    others = tuple(f"{url}/{path}/Questionnaire" for url in served_at for path in below)
    return Forms({form.id: form for form in forms}, others)


def _form(read: Mapping[str, Any], url: str) -> Form:
    resource: Json = {}
    for name, value in read.items():
        if name == "version":
            resource["url"] = url  # at its place in FHIR's sequence of elements
        resource[name] = value
    return Form(
        id=read["id"],
        url=url,
        version=read["version"],
        title=read["title"],
        changed=datetime.fromisoformat(read["date"]),
        resource=resource,
    )
