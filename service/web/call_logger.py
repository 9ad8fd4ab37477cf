"""Call logger: records each hook call and its answer, and counts it, before the answer is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
from flask import Flask, Response, g, request

from service import __version__
from service.auth.client_share import MinuteCounts
from service.call_facts import noted
from service.crd.hooks import SERVICES
from service.decision.determination import Determination
from service.decision_log.call_record import CallRecord, DeterminationRecord
from service.decision_log.fetched_resources import written
from service.decision_log.instants import new_call_id
from service.decision_log.recorder import Recorder
from service.decision_log.token_removal import without_tokens
from service.errors import (
    RecordsUnavailable,
    RequestError,
    TooManyCalls,
    Unavailable,
    UnknownService,
)
from service.response import Asserted
from service.review.order_review import Review
from service.web.json_body import encode
from service.web.metrics import Metrics
from service.web.problems import internal_error

_HOOKS: Mapping[str, str] = {s.id: s.hook for s in SERVICES}


_MOST_KEPT_OF_REFUSED = 65_536
"""Bytes of a refused call that are kept: what a person needs to see what is wrong with it."""


def count_refusals(app: Flask, metrics: Metrics) -> None:
    """Count requests refused by reason, and hook calls refused before their body is read."""

    @app.after_request
    def count(response: Response) -> Response:
        of_call = g._get_current_object()
        client = of_call.client.name if "client" in of_call else ""
        if "refusal" in of_call:
            metrics.refusal(client or of_call.get("refused_client", ""), of_call.refusal)
        if "counted" not in of_call and request.endpoint == "hooks.call":
            hook = _HOOKS.get((request.view_args or {}).get("service_id", ""))
            if hook:
                metrics.call(hook, "", client, "refused", seconds=None)
        return response


class CallLogger:
    """Recording of calls. `clock` gives the current time with a time zone.

    Of each client's refused calls at most `most_refused` bytes a minute are kept; further ones are
    counted only, in `refused`. `policies_digest` is that of the snapshot that answers.
    """

    def __init__(
        self,
        recorder: Recorder,
        metrics: Metrics,
        clock: Callable[[], datetime],
        most_refused: int,
        refused: MinuteCounts,
        policies_digest: str,
    ) -> None:
        self.recorder = recorder
        self.metrics = metrics
        self.clock = clock
        self.most_refused = most_refused
        self.refused = refused
        self.policies_digest = policies_digest

    def received(self, service_id: str, client: str, body: bytes) -> ReceivedCall:
        """Begin a call; `client` is the configured name of its client."""
        now = self.clock()
        return ReceivedCall(
            self, new_call_id(now), service_id, client, body, now, time.perf_counter()
        )


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """A call on its way to its answer: end it with `complete` or `fail`."""

    call_logger: CallLogger
    id: str
    service_id: str
    client: str
    body: bytes
    received_at: datetime
    started: float

    def complete(self, review: Review) -> bytes:
        """Record call and answer; returns the answer's bytes. Raises RecordsUnavailable."""
        payload = review.answer
        call = review.request
        fetched = written(review.fetched)
        g.fetched_bytes = len(fetched or b"")
        g.fetch_reports = review.fetched.reports
        record = msgspec.structs.replace(
            self._record(200, payload),
            request=call.document.body,
            hook_instance=call.hook_instance,
            crd_version=call.version.name,
            ehr=call.fhir_server,
            patient=call.patient,
            encounter=f"Encounter/{call.encounter_id}" if call.encounter_id else None,
            token_use=review.fetched.token_use.value if call.access_token else None,
            fetched=fetched,
            decided=tuple(map(_decided, review.determinations, review.asserted)),
            cards=review.cards,
        )
        self._keep(record, call.version.name, "answered")
        for card in review.cards:
            self.call_logger.metrics.card(card.policy_id, card.topic)
        for determination in review.determinations:
            for kind in determination.payer.kinds if determination.payer else ():
                self.call_logger.metrics.payer_finding(kind)
        for report in review.fetched.reports:
            self.call_logger.metrics.fetch(report.outcome.value)
        return payload

    def fail(self, error: Exception) -> None:
        """Record a call that is answered with this error, as far as its client's share goes.

        Raises RecordsUnavailable. A call of an unknown service is not recorded, nor one for which
        there was no place: nothing was decided about it.
        """
        if isinstance(error, UnknownService | TooManyCalls | Unavailable):
            return
        if isinstance(error, RequestError):
            payload, status, outcome = encode(error.operation_outcome()), error.status, "refused"
        else:
            payload, status, outcome = encode(internal_error()), 500, "failed"
        request = self.body if len(self.body) <= _MOST_KEPT_OF_REFUSED else None
        if self._may_keep(len(request or b"") + len(payload)):
            record = msgspec.structs.replace(self._record(status, payload), request=request)
            self._keep(record, "", outcome)
        else:
            self.call_logger.metrics.not_kept(self.client)
            self._count("", outcome)

    def _may_keep(self, size: int) -> bool:
        """Whether so many bytes more of the client's refused calls may be kept in this minute."""
        key = (self.client,)
        self.call_logger.refused.add(key, size)
        return self.call_logger.refused.of(key) <= self.call_logger.most_refused

    def _record(self, status: int, payload: bytes) -> CallRecord:
        return CallRecord(
            id=self.id,
            client=self.client,
            service_id=self.service_id,
            hook=_HOOKS[self.service_id],
            received_at=self.received_at,
            seconds=time.perf_counter() - self.started,
            status=status,
            request=None,
            answer=payload,
            service_version=__version__,
            policies_digest=self.call_logger.policies_digest,
            repeated="repeated" in noted(),
        )

    def _keep(self, record: CallRecord, version: str, outcome: str) -> None:
        try:
            self.call_logger.recorder.record(without_tokens(record))
        except RecordsUnavailable:
            outcome = "unavailable"
            raise
        finally:
            self._count(version, outcome)

    def _count(self, version: str, outcome: str) -> None:
        seconds = time.perf_counter() - self.started
        hook = _HOOKS[self.service_id]
        self.call_logger.metrics.call(hook, version, self.client, outcome, seconds)
        g.counted = True


def _decided(determination: Determination, asserted: Asserted | None) -> DeterminationRecord:
    if asserted is None:
        return DeterminationRecord(determination, None, stated=False)
    return DeterminationRecord(
        determination, asserted.assertion_id, asserted.sent, asserted.replaces
    )
