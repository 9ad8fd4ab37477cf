"""The types of field that tables of wordings are made of, and library files with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from cards.texts.placeholders import Placeholders


class Model(BaseModel):
    """A mapping of a file: every field known and of its type, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True, slots=True)
class Write:
    """The expected content of a field, in words: the fix for an invalid value."""

    wanted: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "description": self.wanted}


Text = Annotated[str, Field(pattern=r"\S"), Write("some text")]
Sentence = Annotated[Text, Placeholders()]
"""A text that people read, with nothing to fill in."""
