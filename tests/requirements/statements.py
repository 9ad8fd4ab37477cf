"""Requirement statements of CRD 2.2.1, CRD 2.0.1 and CDS Hooks 2.0 that bind a service.

Each specification has a table beside this module: the statement's id as published, its binding
(SHALL, SHOULD, MAY), and what it is about in a few words of this project. The statement itself is
read in its specification; docs/conformance.md says where the ids come from.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

HERE = Path(__file__).parent
SOURCES = ("crd-2.2.1", "crd-2.0.1", "cds-hooks-2.0")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `id` has its specification before it, as in "crd-2.2.1:resp-37"."""

    id: str
    binding: str
    in_short: str

    @property
    def is_shall(self) -> bool:
        return self.binding.startswith("SHALL")


@functools.cache
def statements(source: str) -> tuple[Statement, ...]:
    """The statements of one of SOURCES, in the table's order; ValueError for an id given twice."""
    with (HERE / f"{source}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    twice = [i for i, count in Counter(row["id"] for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"{source}.tsv: given twice: {', '.join(twice)}")
    return tuple(Statement(f"{source}:{r['id']}", r["binding"], r["in_short"]) for r in rows)


def all_ids() -> frozenset[str]:
    """The ids of every statement of every specification."""
    return frozenset(s.id for source in SOURCES for s in statements(source))


@functools.cache
def not_applicable() -> dict[str, str]:
    """Statement id → the reason why no test of this service can verify it."""
    loaded = YAML(typ="safe").load((HERE / "not_applicable.yaml").read_text("utf-8"))
    return {statement: reason for reason, ids in loaded.items() for statement in ids}
