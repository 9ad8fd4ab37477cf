"""Facts that the Patient tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from service.decision.facts import NOT_TOLD, Fact
from service.fhir.document import Resource
from service.fhir.elements import text
from service.fhir.fact_readers.at_hand import OrderAtHand
from service.fhir.fact_readers.data_types import day_told


def _patient(at: OrderAtHand) -> Resource | None:
    found = at.resources.get(at.patient)
    return found if found is not None and found.type == "Patient" else None


def _no_patient(at: OrderAtHand) -> Fact:
    return at.unread({"reference": at.patient})


def _birth(at: OrderAtHand) -> Fact:
    patient = _patient(at)
    if patient is None:
        return _no_patient(at)
    written = patient.data.get("birthDate")
    return day_told(written, f"{patient.place}.birthDate", None) if written else NOT_TOLD


def _gender(at: OrderAtHand) -> Fact:
    patient = _patient(at)
    if patient is None:
        return _no_patient(at)
    written = text(patient.data.get("gender"))
    return Fact(written, (f"{patient.place}.gender",)) if written else NOT_TOLD


def _deceased(at: OrderAtHand) -> Fact:
    patient = _patient(at)
    if patient is None:
        return _no_patient(at)
    boolean = patient.data.get("deceasedBoolean")
    died = boolean is True or bool(patient.data.get("deceasedDateTime"))
    return Fact(died, (f"{patient.place}.deceased[x]",))


READERS: Mapping[str, Callable[[OrderAtHand], Fact]] = {
    "patient.age": _birth,
    "patient.gender": _gender,
    "patient.deceased": _deceased,
    # Of the member only the payer's own records tell.
    **{f"member.{name}": lambda _: NOT_TOLD for name in ("deceased", "hospice", "qmb")},
}
