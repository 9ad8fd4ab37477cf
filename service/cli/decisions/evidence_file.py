"""Evidence file of a decision: an HTML page that prints well, with the same as JSON in it.

The page needs nothing from elsewhere, runs no script, and shows text of a call as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, tzinfo
from importlib import resources
from typing import Any

import msgspec
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from cards.texts.wording import UndeterminedTexts
from service import __version__
from service.cli.decisions.log_shapes import call_json, decision_json
from service.decision_log import display
from service.decision_log.chain_proof import ChainProof
from service.decision_log.decision_detail import DecisionDetail
from service.decision_log.instants import instant
from service.policies.policy_text import PolicyText
from service.shown_text import shown, shown_json
from service.web.markdown import markdown_html

_PAYER = "payer"
"""Topic of the trace's steps that tell what the payer's own records said."""


def evidence_html(
    found: DecisionDetail,
    *,
    policy: PolicyText | None,
    proof: ChainProof | None,
    undetermined: UndeterminedTexts,
    zone: tzinfo,
    by: str,
    now: datetime,
) -> str:
    """The page. Times are shown in `zone`; `by` is who asked for it, `now` an instant."""
    kept = found.call.kept
    bodies = [
        (title, _text(body), _sha256(body))
        for title, body in (
            ("The request, as it was kept", kept.request),
            ("The answer, as it was kept", kept.answer),
            ("What was read from the EHR", kept.fetched),
        )
        if body is not None
    ]
    return _TEMPLATE.render(
        found=found,
        d=found.determination,
        facts=list(display.facts(found, zone, undetermined)),
        codes=", ".join(display.short_codes(found.determination.codes)),
        cards=found.call.cards,
        said=[
            (display.moment(instant(s.outcome_at), zone), s.card_uuid, display.feedback_in_words(s))
            for s in found.said
        ],
        trace=[tuple(map(shown, step)) for step in found.trace],
        records=[step for step in found.trace if step[0] == _PAYER],
        stated=display.stated_reasons(found.call, found.determination),
        policy=policy,
        proof=proof,
        bodies=bodies,
        by=by,
        written_at=display.moment(now, zone),
        version=__version__,
        embedded=_embedded(evidence_json(found, policy, proof, by, now)),
    )


def evidence_json(
    found: DecisionDetail,
    policy: PolicyText | None,
    proof: ChainProof | None,
    by: str,
    now: datetime,
) -> Mapping[str, Any]:
    """The same for programs. Bodies are texts, so that their SHA-256 can be taken again."""
    kept = found.call.kept
    published = policy.published if policy else None
    return {
        "evidence_of": found.determination.assertion_id,
        "written_at": now.isoformat(),
        "written_by": by,
        "covercard": __version__,
        "decision": decision_json(found.decision),
        "trace": found.trace,
        "payer_records": [step for step in found.trace if step[0] == _PAYER],
        "replaces": found.replaces,
        "replaced_by": found.replaced_by,
        "asserted_before": [other.received_at.isoformat() for other in found.others],
        "call": call_json(found.call, found.said, bodies=False),
        "request": _body_json(kept.request),
        "answer": _body_json(kept.answer),
        "fetched": _body_json(kept.fetched),
        "policy": None
        if policy is None
        else {
            "file": policy.file,
            "text": policy.text,
            "sha256": policy.sha256,
            "is_as_published": policy.is_as_published,
            "published_on": str(published.on) if published else None,
        },
        "chain": None if proof is None else proof.as_json(),
    }


def _body_json(body: bytes | None) -> Mapping[str, str] | None:
    if body is None:
        return None
    return {"text": body.decode("utf-8", "replace"), "sha256": _sha256(body)}


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _text(body: bytes) -> str:
    return shown_json(display.body_text(body))


def _embedded(value: Mapping[str, Any]) -> Markup:
    """JSON within a script element: no character of it ends the element."""
    text = shown_json(msgspec.json.encode(value).decode())
    escaped = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(escaped)  # noqa: S704  without any character that HTML knows


def _markdown(text: str) -> Markup:
    return Markup(markdown_html(shown(text)))  # noqa: S704  escapes the HTML in it


_ENVIRONMENT = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters.update(shown=shown, markdown=_markdown)
_TEMPLATE = _ENVIRONMENT.from_string(
    resources.files("service.cli.decisions").joinpath("evidence.html.j2").read_text("utf-8")
)
