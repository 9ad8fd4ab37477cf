"""All wording that a clinician, patient or front desk reads: tables and templates beside this.

It is read and checked once, at the start, and handed to whatever writes an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jinja2 import Environment

from cards.texts.templates import ENDING, Template, environment, without_gaps
from cards.texts.wording import CaveatTexts, PackageTexts, PayerTexts, Phrases, UndeterminedTexts


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """The wording of all answers."""

    phrases: Phrases
    undetermined: UndeterminedTexts
    packages: PackageTexts
    payer: PayerTexts
    caveats: CaveatTexts
    environment: Environment = field(default_factory=environment)

    def render(self, template: Template, /, **values: object) -> str:
        """The template filled with `values`, as Markdown."""
        found = self.environment.get_template(f"{template.name}{ENDING}")
        return without_gaps(found.render(values))
