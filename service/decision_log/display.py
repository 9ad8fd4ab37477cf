"""Display of logged decisions, for terminal and web page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo

import msgspec

from cards.coverage_information.reader import read_coverage_information
from cards.texts.wording import UndeterminedTexts
from service.decision_log.decision_detail import DecisionDetail
from service.decision_log.queries import LoggedCall
from service.decision_log.rows import DeterminationRow, FeedbackRow

_REPEATED = (
    "by the proxy, which got no answer to its first attempt; a record of that one, with the same"
    " hookInstance, is of the same call"
)


def facts(
    found: DecisionDetail, zone: tzinfo, undetermined: UndeterminedTexts
) -> Iterator[tuple[str, str]]:
    """(label, value) pairs of a decision and its call, without unknown values."""
    told = {
        **_of_call(found.call, zone),
        **_of_determination(found.determination, undetermined),
        "Replaces": found.replaces,
        "Replaced by": found.replaced_by,
        **_of_record(found.call),
    }
    return _known(told)


def facts_of_call(call: LoggedCall, zone: tzinfo) -> Iterator[tuple[str, str]]:
    """(label, value) pairs of a call."""
    return _known({**_of_call(call, zone), **_of_record(call)})


def facts_of_determination(
    d: DeterminationRow, undetermined: UndeterminedTexts
) -> Iterator[tuple[str, str]]:
    """(label, value) pairs of a determination."""
    return _known({"Assertion id": d.assertion_id, **_of_determination(d, undetermined)})


def _known(told: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    return ((name, printable(fact)) for name, fact in told.items() if fact)


def _of_call(call: LoggedCall, zone: tzinfo) -> dict[str, str | None]:
    row = call.row
    version = f", CRD {row.crd_version}" if row.crd_version else ""
    instance = f", hookInstance {row.hook_instance}" if row.hook_instance else ""
    return {
        "Asked": f"{moment(call.received_at, zone)}, {row.hook}{version}",
        "By": f"{caller(row.client, row.ehr)}{instance}",
        "Repetition": _REPEATED if row.repeated else None,
        "Patient": row.patient,
    }


def _of_determination(
    d: DeterminationRow, undetermined: UndeterminedTexts
) -> dict[str, str | None]:
    return {
        "Order": f"{d.order_ref}: {', '.join(short_codes(d.codes)) or 'no code'}",
        "Day of service": f"{d.service_day} ({d.day_source})",
        "Coverage": f"{d.coverage or 'none'} ({d.coverage_outcome})",
        "Payer": d.payer,
        "Program": d.program,
        "Policy": f"{d.policy_id}, version {d.policy_version}" if d.policy_id else None,
        "Reason": d.reason_id or undetermined_text(d, undetermined),
        "Holds for": ", ".join(short_codes(d.billing_codes)),
        "Notices": ", ".join(msgspec.json.decode(d.notices)),
        "Stated": _stated(d),
    }


def _of_record(call: LoggedCall) -> dict[str, str | None]:
    row = call.row
    return {
        "Answered": f"HTTP {row.status} in {row.elapsed_us / 1000:.1f} ms",
        "Service": f"Covercard {row.service_version}, call {row.call_id}",
        "Policies": row.policies_digest,
    }


def caller(client: str, ehr: str | None) -> str:
    """Client and EHR: ids of patients and orders are unique within one EHR only."""
    return f"{client}, {ehr or 'EHR not told'}"


def undetermined_text(d: DeterminationRow, undetermined: UndeterminedTexts) -> str:
    """The reason without a determination, as in coverage information; "" with a determination."""
    if d.undetermined is None:
        return ""
    wording = undetermined.get(d.undetermined)
    return wording.reason.strip() if wording else d.undetermined


def moment(at: datetime, zone: tzinfo) -> str:
    """An instant in a time zone, to the second."""
    return at.astimezone(zone).isoformat(sep=" ", timespec="seconds")


def short_codes(written: str) -> list[str]:
    """The codes of a JSON list of "system|code", without their systems."""
    return [str(code).rpartition("|")[2] for code in msgspec.json.decode(written)]


def answer_in_short(d: DeterminationRow) -> str:
    """The `covered` code, with the reason if no policy determined it."""
    return d.covered if d.undetermined is None else f"{d.covered} ({d.undetermined})"


def policy_in_short(d: DeterminationRow) -> str:
    """Policy and version; "" without a policy."""
    return f"{d.policy_id} {d.policy_version}" if d.policy_id else ""


def stated_reasons(call: LoggedCall, d: DeterminationRow) -> list[str]:
    """The reasons in the coverage information with this assertion id."""
    for action in call.answer.get("systemActions", []):
        for info in read_coverage_information(action.get("resource", {})):
            if info.assertion_id == d.assertion_id:
                return [*info.reasons]
    return []


def feedback_in_words(item: FeedbackRow) -> str:
    """Feedback on a card: "overridden: reason: comment"."""
    reason = item.reason_display or item.reason_code
    return printable(": ".join(w for w in (item.outcome, reason, item.comment) if w))


def body_text(body: bytes | None) -> str:
    """A stored request or answer as indented JSON, with numbers as received.

    Bidirectional control characters are escaped.
    """
    try:
        indented = msgspec.json.format(body or b"{}", indent=2).decode("utf-8", "replace")
    except (ValueError, RecursionError):  # no JSON for this parser: unchanged
        indented = (body or b"").decode("utf-8", "replace")
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in indented)


def printable(text: str) -> str:
    """Text without control characters and bidirectional controls, safe for a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _stated(d: DeterminationRow) -> str:
    if d.assertion_id is None:
        return "nothing"
    return "in this answer" if d.stated else "the order carried it already"
