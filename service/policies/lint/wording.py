"""Rules about what a clinician reads: length, placeholders, and what must never be said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain, combinations

from cards.naming import MOST_CODES_NAMED, SUMMARY_LIMIT, NamedService, fill
from service.errors import Finding
from service.policies.drafts import Draft, Drafts
from service.policies.files import Where

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KNOWN_PLACEHOLDERS = frozenset({"services", "codes"})
_ALSO_KNOWN: Mapping[object, frozenset[str]] = {
    "records": frozenset({"day"}),
    "advice": frozenset({"reason", "edition"}),
    "blanks": frozenset({"reason"}),
}
"""What is filled in beside them in some parts of a notice."""

NEVER_SAID: Mapping[str, str] = {
    r"medicare does not cover": "say that Medicare is likely to deny it; no Medicare rule says so",
    r"\bdenied\b": "a card is information: say not covered, or likely to deny",
    r"\bthis is a (coverage )?determination": "a card is information, not a determination",
    r"\b(decision|answer|determination)\b[^.]*\b\d+[ -](calendar |business |working )?days?\b": (
        "leave out how many days a decision takes"
    ),
    r"220\.2\.1": "that NCD is no longer in force: leave it out",
}
"""What a text must never say (lower case), and what to do instead."""


def summary_fits_a_card(drafts: Drafts) -> Iterator[Finding]:
    """A card's summary is under 140 characters, whichever of its services it names."""
    summaries = {d.folder: (d, d.data["summary"]) for d in drafts.editions}
    for draft in drafts.versions:
        wording = draft.data["wording"].items()
        own = [(draft, ("wording", p, "summary"), w["summary"]) for p, w in wording]
        suggested = set(chain.from_iterable(draft.data["advance_notice"].values()))
        theirs = [
            (summaries[n][0], ("summary",), summaries[n][1])
            for n in sorted(suggested)
            if n in summaries
        ]
        for holder, where, template in [*own, *theirs]:
            longest = max((fill(template, s) for s in _named_together(draft)), key=len)
            if len(longest) > SUMMARY_LIMIT:
                problem = f"{len(longest)} characters once filled in: {longest}"
                yield holder.file.finding(where, problem, f"stay within {SUMMARY_LIMIT}")


def placeholders_are_known(drafts: Drafts) -> Iterator[Finding]:
    for draft, where, text in _texts(drafts):
        known = _KNOWN_PLACEHOLDERS | _ALSO_KNOWN.get(where[0], frozenset())
        for name in _PLACEHOLDER.findall(text):
            if name not in known:
                repair = "use " + " or ".join(f"{{{k}}}" for k in sorted(known, reverse=True))
                yield draft.file.finding(where, f"nothing fills in {{{name}}}", repair)
        rest = _PLACEHOLDER.sub("", text)
        if "{" in rest or "}" in rest:
            yield draft.file.finding(where, "a brace has no partner", "close it, or leave it out")


def never_said(drafts: Drafts) -> Iterator[Finding]:
    for draft, where, text in _texts(drafts):
        for pattern, repair in NEVER_SAID.items():
            said = re.search(pattern, text.lower())
            if said:
                yield draft.file.finding(where, f"says “{said.group()}”", repair)


def _named_together(draft: Draft) -> Iterator[list[NamedService]]:
    """The sets of services that make the longest phrases: groups alone, in pairs, and all."""
    groups = [
        [NamedService(c["code"], c["name"], group["name"]) for c in group["codes"]]
        for group in draft.data["services"]
    ]
    for group in groups:
        yield group[:MOST_CODES_NAMED]
    for one, other in combinations(groups, 2):
        few = one[: MOST_CODES_NAMED - 1]
        yield [*few, *other[: MOST_CODES_NAMED - len(few)]]
    yield [service for group in groups for service in group]


_PARTS = (
    *(("blanks", "holds"), ("blanks", "text"), ("options", "means"), ("options", "on_file")),
    *(("modifiers", "when"), ("why_not", "because")),
)
"""The parts of a notice that are lists, each with a text that people read."""


def _texts(drafts: Drafts) -> Iterator[tuple[Draft, Where, str]]:
    """Every text of a policy or notice that people read."""
    for draft in drafts.versions:
        data = draft.data
        yield draft, ("summary",), data["summary"]
        for p, wording in data["wording"].items():
            for name, text in wording.items():
                yield draft, ("wording", p, name), text
        for p, determination in data["determinations"].items():
            for name in ("text", "for_patient"):
                if name in determination["reason"]:
                    where = ("determinations", p, "reason", name)
                    yield draft, where, determination["reason"][name]
        for i, text in enumerate(data["reservations"]):
            yield draft, ("reservations", i), text
    for draft in drafts.editions:
        data = draft.data
        yield draft, ("summary",), data["summary"]
        yield draft, ("documentation_reason",), data["documentation_reason"]
        for i, text in enumerate(data["advice"]):
            yield draft, ("advice", i), text
        if "edition_note" in data:
            yield draft, ("edition_note",), data["edition_note"]
        for name in ("label", "description", "reason"):
            yield draft, ("task", name), data["task"][name]
        for i, record in enumerate(data.get("records", ())):
            for name in ("text", "refused"):
                if name in record:
                    yield draft, ("records", i, name), record[name]
        for part, name in _PARTS:
            for i, entry in enumerate(data.get(part, ())):
                if name in entry:
                    yield draft, (part, i, name), entry[name]
