"""Forms with their dependencies as the bytes of package entries, made once for each day.

A form's bytes depend on its version, on that of DTR and, by its value sets, on the day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo

import msgspec

from cards.questionnaires import Form
from cards.questionnaires.payer_address import addressed
from cards.vocabulary import Json
from service.dtr.adaptive_forms import AdaptiveForm
from service.dtr.dtr_version import DtrVersion
from service.dtr.form_dependencies import Dependencies, FormDependencies
from service.dtr.form_shape import shaped

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class PackagedForm:
    """A form's entries: its Questionnaire, and what it depends on; each with its fullUrl.

    `unknown` are canonicals that the form names and that are not on file. `changed` is when the
    form or one of its dependencies last changed.
    """

    questionnaire: msgspec.Raw
    dependencies: tuple[msgspec.Raw, ...]
    unknown: tuple[str, ...]
    changed: datetime


class PackagedForms:
    """The entries of forms, kept for the day on which they were last asked for.

    `zone` is the time zone of a day. Safe to share between threads: what is kept is only ever
    replaced by equal values.
    """

    def __init__(self, dependencies: FormDependencies, base_url: str, zone: tzinfo) -> None:
        self._dependencies = dependencies
        self._base_url = base_url
        self._zone = zone
        self._day = date.min
        self._kept: dict[tuple[str, str, str], PackagedForm] = {}
        self._found_of: dict[tuple[str, date], Dependencies] = {}

    def address(self, version: DtrVersion) -> str:
        """The payer's FHIR base URL of a version of DTR."""
        return f"{self._base_url}/fhir/{version.name}"

    def of(self, form: Form, version: DtrVersion, now: datetime) -> PackagedForm:
        """The entries of a form, as of the day of `now`."""
        return self._packaged(form, form.resource, version, now)

    def of_adaptive(
        self, adaptive: AdaptiveForm, items: list[Json], version: DtrVersion, now: datetime
    ) -> PackagedForm:
        """The entries of an adaptive form, with what its questions depend on.

        `items` are its first questions where the version's first form brings them.
        """
        first = adaptive.first_form(self.address(version))
        if items:
            first = {**first, "item": items}
        return self._packaged(adaptive.form, first, version, now, adaptive.whole)

    def shaped(self, resource: Json, whole: Form, version: DtrVersion, day: date) -> Json:
        """A part of the form `whole` in the shape of a version, each reference with its version."""
        versions = self._found(whole, day).versions
        return shaped(resource, version.form, versions, self.address(version))

    def on_file(self, resource: Json) -> Json:
        """A form as it stands on file, with the payer's FHIR base URL of all versions."""
        made: Json = addressed(resource, f"{self._base_url}/fhir")
        return made

    def _packaged(
        self,
        form: Form,
        resource: Json,
        version: DtrVersion,
        now: datetime,
        whole: Form | None = None,
    ) -> PackagedForm:
        day = now.date()
        self._begin(day)
        links = " ".join(item["linkId"] for item in resource.get("item", ()) if whole)
        key = (f"{form.canonical} {links}", version.name, day.isoformat())
        found = self._kept.get(key)
        if found is None:
            found = self._made(form, resource, version, now, whole or form)
            self._kept[key] = found
        return found

    def _begin(self, day: date) -> None:
        if day != self._day:
            self._kept, self._found_of, self._day = {}, {}, day

    def _found(self, form: Form, day: date) -> Dependencies:
        self._begin(day)
        found = self._found_of.get((form.id, day))
        if found is None:
            found = self._dependencies.of(form.resource, day)
            self._found_of[form.id, day] = found
        return found

    def _made(
        self, form: Form, resource: Json, version: DtrVersion, now: datetime, whole: Form
    ) -> PackagedForm:
        found = self._found(whole, now.date())
        address = self.address(version)
        questionnaire = shaped(resource, version.form, found.versions, address)
        return PackagedForm(
            questionnaire=_entry(form.url, questionnaire),
            dependencies=tuple(self._entries(found, version, now)),
            unknown=tuple(found.unknown),
            changed=max([form.changed, *self._changes(found, now)]),
        )

    def _entries(
        self, found: Dependencies, version: DtrVersion, now: datetime
    ) -> Iterator[msgspec.Raw]:
        address = self.address(version)
        for library in found.libraries:
            made = shaped(library, version.form, found.versions, address)
            yield _entry(library["url"], made)
        value_sets = self._dependencies.value_sets
        for set_id in found.value_sets:
            small = value_sets.is_small(set_id, now.date())
            made = (
                value_sets.expansion(set_id, now)
                if small
                else value_sets.definition(set_id, now.date())
            )
            yield _entry(made["url"], made)

    def _changes(self, found: Dependencies, now: datetime) -> Iterator[datetime]:
        for library in found.libraries:
            if "date" in library:
                changed = datetime.fromisoformat(library["date"])
                yield changed if changed.tzinfo else changed.replace(tzinfo=self._zone)
        for set_id in found.value_sets:
            version = self._dependencies.value_sets.version(set_id, now.date())
            yield datetime.combine(date.fromisoformat(version), time(), self._zone)


def _entry(url: str, resource: Json) -> msgspec.Raw:
    return msgspec.Raw(_encode({"fullUrl": url, "resource": resource}))
