"""Call record: the input of the decision log for one call, in terms of the decision."""

from __future__ import annotations

from datetime import datetime

import msgspec

from service.decision.determination import Determination


class DeterminationRecord(msgspec.Struct, frozen=True):
    """One determination with its coverage assertion.

    `assertion_id` is its coverage-assertion-id, None without coverage information; `stated`,
    whether this answer sends it (the order may carry it already); `replaces`, the id of this
    service's earlier coverage information on the order.
    """

    determination: Determination
    assertion_id: str | None
    stated: bool
    replaces: str | None = None


class CardShown(msgspec.Struct, frozen=True):
    """One card of the answer: `topic` is its source's topic code, `suggestions` their uuids.

    `form` is true if a suggestion of it starts a form. A card without a policy has None for both.
    """

    uuid: str
    topic: str
    policy_id: str | None
    policy_version: str | None
    suggestions: tuple[str, ...] = ()
    form: bool = False


class CallRecord(msgspec.Struct, frozen=True):
    """One call and its answer.

    `request` is the body without access tokens, None if it cannot be stored; `answer`, the sent
    bytes; `fetched`, JSON of the queries to the EHR, None without any; `token_use`, CRD's metric
    code ("used", "not-used", "rejected") for a call with a token; `policies_digest`, the digest of
    the policies in force, with their notices, programs and payers; `repeated` is true where a proxy
    repeated the call after it had lost the instance that it came to first. `received_at` has a time
    zone; `seconds` is the time from the call to the encoded answer. References are "Type/id"; `ehr`
    is the EHR's FHIR base URL.
    """

    id: str
    client: str
    service_id: str
    hook: str
    received_at: datetime
    seconds: float
    status: int
    request: bytes | None
    answer: bytes
    service_version: str
    hook_instance: str | None = None
    crd_version: str | None = None
    ehr: str | None = None
    patient: str | None = None
    encounter: str | None = None
    token_use: str | None = None
    fetched: bytes | None = None
    decided: tuple[DeterminationRecord, ...] = ()
    cards: tuple[CardShown, ...] = ()
    policies_digest: str | None = None
    repeated: bool = False
