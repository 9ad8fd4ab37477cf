"""Editor schemas: JSON Schemas of the library's files, generated from their models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from service.policies.cases import CasesFile
from service.policies.notices import Notice
from service.policies.payers import PayersFile
from service.policies.policy_file import PolicyFile
from service.policies.program_table import ProgramsFile

KINDS: Mapping[str, type[BaseModel]] = {
    "policy": PolicyFile,
    "notice": Notice,
    "payers": PayersFile,
    "programs": ProgramsFile,
    "cases": CasesFile,
}
"""Every kind of file, with its model."""


def editor_schema(kind: str) -> Mapping[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of file, with present names of fields only."""
    schema = KINDS[kind].model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect, **schema}


class _Schema(GenerateJsonSchema):
    """Schema generator without pydantic's titles, and without nulls, which are not accepted."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)
