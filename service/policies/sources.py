"""Sources of the facts in a file, and what of them is still to be checked."""

from __future__ import annotations

from pydantic import Field

from service.policies.fields import Model, Sentence, Several, Text, Told, Url

ToBeChecked = Several[Sentence]
"""What rests on no source that was read; lint warns of it, and the page says it."""


class SourceEntry(Model):
    """Where it is said what the file says."""

    says: Sentence = Field(description="What is taken from it, in our words.")
    title: Text
    url: Told[Url] = Field(None, description="Its address, only where it is really known.")
