"""A card's `source.topic`: what kind of card it is (CRD 2.2.1 resp-5)."""

from __future__ import annotations

from cards import texts
from cards.vocabulary import Coding


def topic(code: str, system: str) -> Coding:
    """The topic of this code; `system` is the code system of the version of CRD asked for."""
    return Coding(code=code, system=system, display=texts.table("phrases")["topics"][code])
