"""Rows of the log, in the store and in the segments.

Each struct is a table of `tables`, with the same columns in the same order. Rows in segments carry
field names, and a record's hash covers them: a field added by a later version needs a default that
is left out where it is written (`omit_defaults`), so that older records keep their hash.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from service.decision_log.call_record import CallRecord, CardShown, DeterminationRecord
from service.decision_log.compression import pack, unpack
from service.decision_log.instants import microseconds
from service.interpreter_lock import giving_way

LONGEST_TEXT = 512
"""Longest indexed text of a call in characters; the request's bytes have the whole."""

_json = msgspec.json.Encoder().encode
_encode_kept = msgspec.msgpack.Encoder().encode


class CallPayload(msgspec.Struct, frozen=True):
    """The payload of a call: request, answer, and the trace of each determination in order.

    A trace is a list of (topic, finding, because).
    """

    request: bytes | None
    answer: bytes
    fetched: bytes | None = None
    traces: list[list[tuple[str, str, str]]] = []


class CallRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A call; `kept` is its CallPayload as MessagePack, compressed as one: its parts are
    similar. Calls of 0.1.0 have no `policies_digest`; `repeated` is 1 or None.
    """

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
    policies_digest: str | None = None
    repeated: int | None = None


class DeterminationRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A determination; `codes`, `billing_codes`, `notices` are JSON lists; `stated` is 0 or 1."""

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


class CardRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A card; `suggestions` is a JSON list of uuids; `form` is 0 or 1."""

    card_uuid: str
    call_id: str
    position: int
    topic: str
    policy_id: str | None
    policy_version: str | None
    form: int
    suggestions: str


class FeedbackRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A feedback item; `accepted_suggestions` is a JSON list of uuids."""

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


class AccessRow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An access to the log, or a package given out; `detail` is a JSON object."""

    access_id: str
    at: int
    who: str
    what: str
    detail: str


class ChainRow(msgspec.Struct, frozen=True, gc=False):
    """A record's place in its chain, with its hash and authentication (see `frames`).

    `call_id` is the call that it keeps; `content`, its payload, where that is no call's.
    """

    chain: int
    sequence: int
    kind: int
    form: int
    recorded_at: int
    length: int
    call_id: str | None
    content_hash: bytes
    hash: bytes
    mac: bytes
    content: bytes | None


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows written in one transaction."""

    calls: list[CallRow] = []
    determinations: list[DeterminationRow] = []
    cards: list[CardRow] = []
    feedback: list[FeedbackRow] = []
    accesses: list[AccessRow] = []
    records: list[ChainRow] = []


_decode_kept = msgspec.msgpack.Decoder(CallPayload).decode
encode_entry = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(LogEntry).decode

_FORMER_NAMES = {"programme": "program", "gap": "undetermined"}
"""Field names of 0.1.0 in entries spooled by it → present names."""


def decode_entry(payload: bytes) -> LogEntry:
    """The rows of a spooled entry, of this or an earlier version.

    Raises msgspec.DecodeError for another payload.
    """
    try:
        return _decode_entry(payload)
    except msgspec.ValidationError:
        written = msgspec.msgpack.decode(payload)
        for row in written.get("determinations", ()):
            for former, name in _FORMER_NAMES.items():
                if former in row:
                    row[name] = row.pop(former)
        return msgspec.convert(written, LogEntry)


def together(entries: Iterable[LogEntry]) -> LogEntry:
    """Several entries merged into one."""
    whole = LogEntry([], [], [], [], [], [])
    for entry in entries:
        whole.calls.extend(entry.calls)
        whole.determinations.extend(entry.determinations)
        whole.cards.extend(entry.cards)
        whole.feedback.extend(entry.feedback)
        whole.accesses.extend(entry.accesses)
        whole.records.extend(entry.records)
    return whole


def entry_of(call: CallRecord) -> LogEntry:
    """The rows of one call."""
    return LogEntry(
        [_call_row(call)],
        [_determination_row(call.id, n, d) for n, d in enumerate(giving_way(call.decided))],
        [_card_row(call.id, n, c) for n, c in enumerate(call.cards)],
    )


def told(text: str | None, longest: int = LONGEST_TEXT) -> str | None:
    """A text of a call for an indexed column: cut to length, without NUL (PostgreSQL)."""
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
        policies_digest=call.policies_digest,
        repeated=1 if call.repeated else None,
    )


def unpack_payload(kept: bytes) -> CallPayload:
    """The payload of a call, unpacked."""
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
    """JSON text, with NUL escaped."""
    return _json(value).decode()
