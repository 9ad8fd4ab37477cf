"""The rows of the log, as they are stored and as they wait in the spool.

Each struct is a table of `tables` with the same columns in the same order. In the spool the names
are written out: a field that a later version adds needs a default, so that it reads older spools.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from service.decision_log.call_record import CallRecord, CardShown, DeterminationRecord
from service.decision_log.compression import pack, unpack
from service.decision_log.instants import microseconds

LONGEST_TEXT = 512
"""Characters kept of a text that came with a call; the whole of it is in the request's bytes."""

_json = msgspec.json.Encoder().encode
_encode_kept = msgspec.msgpack.Encoder().encode


class CallPayload(msgspec.Struct, frozen=True):
    """What of a call is kept whole: the bytes, and the trace of each determination in order.

    A trace is a list of (topic, finding, because).
    """

    request: bytes | None
    answer: bytes
    fetched: bytes | None = None
    traces: list[list[tuple[str, str, str]]] = []


class CallRow(msgspec.Struct, frozen=True, gc=False):
    """`kept` is a CallPayload as MessagePack, compressed in one: its parts are much alike."""

    call_id: str
    received_at: int
    client: str
    service_id: str
    hook: str
    hook_instance: str | None
    crd_version: str | None
    ehr: str | None
    patient: str | None
    encounter: str | None
    status: int
    elapsed_us: int
    token_use: str | None
    service_version: str
    kept: bytes


class DeterminationRow(msgspec.Struct, frozen=True, gc=False):
    """`codes`, `billing_codes` and `notices` are JSON lists of texts; `stated` is 0 or 1."""

    call_id: str
    position: int
    assertion_id: str | None
    stated: int
    replaces: str | None
    order_ref: str
    codes: str
    coverage: str | None
    coverage_outcome: str
    payer: str | None
    program: str
    service_day: str
    day_source: str
    covered: str
    undetermined: str | None
    policy_id: str | None
    policy_version: str | None
    reason_id: str | None
    billing_codes: str
    notices: str


class CardRow(msgspec.Struct, frozen=True, gc=False):
    """`suggestions` is a JSON list of uuids; `form` is 0 or 1."""

    card_uuid: str
    call_id: str
    position: int
    topic: str
    policy_id: str | None
    policy_version: str | None
    form: int
    suggestions: str


class FeedbackRow(msgspec.Struct, frozen=True, gc=False):
    """`accepted_suggestions` is a JSON list of uuids."""

    feedback_id: str
    received_at: int
    client: str
    service_id: str
    card_uuid: str
    outcome: str
    outcome_at: int
    accepted_suggestions: str
    reason_system: str | None
    reason_code: str | None
    reason_display: str | None
    comment: str | None


class Entry(msgspec.Struct, frozen=True):
    """Rows that are written together or not at all."""

    calls: list[CallRow] = []
    determinations: list[DeterminationRow] = []
    cards: list[CardRow] = []
    feedback: list[FeedbackRow] = []


_decode_kept = msgspec.msgpack.Decoder(CallPayload).decode
encode_entry = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode

_FORMER_NAMES = {"programme": "program", "gap": "undetermined"}
"""Names of 0.1.0 in entries that still wait in a spool → today's."""


def decode_entry(payload: bytes) -> Entry:
    """The rows of a spooled entry, also of one that an earlier version wrote.

    Raises msgspec.DecodeError if it is none.
    """
    try:
        return _decode_entry(payload)
    except msgspec.ValidationError:
        written = msgspec.msgpack.decode(payload)
        for row in written["determinations"]:
            for former, name in _FORMER_NAMES.items():
                if former in row:
                    row[name] = row.pop(former)
        return msgspec.convert(written, Entry)


def together(entries: Iterable[Entry]) -> Entry:
    """Several entries as one."""
    whole = Entry([], [], [], [])
    for entry in entries:
        whole.calls.extend(entry.calls)
        whole.determinations.extend(entry.determinations)
        whole.cards.extend(entry.cards)
        whole.feedback.extend(entry.feedback)
    return whole


def entry_of(call: CallRecord) -> Entry:
    """The rows of one call."""
    return Entry(
        [_call_row(call)],
        [_determination_row(call.id, n, d) for n, d in enumerate(call.decided)],
        [_card_row(call.id, n, c) for n, c in enumerate(call.cards)],
    )


def told(text: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """A text that came with a call, fit for an index: cut to length, without NUL (PostgreSQL)."""
    return None if text is None else text[:longest].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _call_row(call: CallRecord) -> CallRow:
    return CallRow(
        call_id=call.id,
        received_at=microseconds(call.received_at),
        client=call.client,
        service_id=call.service_id,
        hook=call.hook,
        hook_instance=told(call.hook_instance),
        crd_version=call.crd_version,
        ehr=told(call.ehr),
        patient=told(call.patient),
        encounter=told(call.encounter),
        status=call.status,
        elapsed_us=round(call.seconds * 1_000_000),
        token_use=call.token_use,
        service_version=call.service_version,
        kept=pack(_encode_kept(_kept(call))),
    )


def unpack_payload(kept: bytes) -> CallPayload:
    """What was kept of a call."""
    return _decode_kept(unpack(kept))


def _kept(call: CallRecord) -> CallPayload:
    traces = [
        [(s.topic, s.finding, s.because) for s in d.determination.trace] for d in call.decided
    ]
    return CallPayload(call.request, call.answer, call.fetched, traces)


def _determination_row(
    call_id: str, position: int, decided: DeterminationRecord
) -> DeterminationRow:
    d = decided.determination
    coverage = d.finding.coverage
    payer = coverage.payer if coverage else None
    return DeterminationRow(
        call_id=call_id,
        position=position,
        assertion_id=decided.assertion_id,
        stated=int(decided.stated),
        replaces=told(decided.replaces),
        order_ref=told(d.order.reference) or "",
        codes=_text([c.written for c in d.order.codings]),
        coverage=told(coverage.reference) if coverage else None,
        coverage_outcome=d.finding.outcome.value,
        payer=f"{payer.system}|{payer.identifier}" if payer else None,
        program=d.program.program.value,
        service_day=str(d.day),
        day_source=d.day.source,
        covered=d.covered.value,
        undetermined=d.undetermined.value if d.undetermined else None,
        policy_id=d.policy.id if d.policy else None,
        policy_version=d.policy.version if d.policy else None,
        reason_id=d.policy_determination.reason_id if d.policy_determination else None,
        billing_codes=_text([f"{c.system}|{c.value}" for c in d.billing_codes]),
        notices=_text(d.notices),
    )


def _card_row(call_id: str, position: int, card: CardShown) -> CardRow:
    return CardRow(
        card_uuid=card.uuid,
        call_id=call_id,
        position=position,
        topic=card.topic,
        policy_id=card.policy_id,
        policy_version=card.policy_version,
        form=int(card.form),
        suggestions=_text(card.suggestions),
    )


def _text(value: object) -> str:
    """As JSON, in which a NUL is written out and so no trouble."""
    return _json(value).decode()
