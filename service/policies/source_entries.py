"""Sources of the facts in a file, and the facts that are still to be checked."""

from __future__ import annotations

from pydantic import Field

from service.policies.fields import Model, Sentence, Several, Text, Told, Url

ToBeChecked = Several[Sentence]
"""Facts without a source that was read; lint warns of them, and the page says them."""


class SourceEntry(Model):
    """A source of the file."""

    says: Sentence = Field(description="What is taken from it, in our words.")
    title: Text
    url: Told[Url] = Field(None, description="Its address, only where it is really known.")
