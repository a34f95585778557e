"""What an answer must look like: OpenAI's `response_format` and vLLM's `structured_outputs`."""

import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from derailleur.engine import Grammar


class NamedSchema(BaseModel):
    """A JSON schema in OpenAI's wrapping."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field("", description="Not used.")
    schema_: dict[str, Any] = Field(alias="schema", description="The JSON schema.")


class ResponseFormat(BaseModel):
    """OpenAI's way: any text, any JSON object, or JSON of a schema."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _schema_where_it_belongs(self) -> Self:
        if (self.json_schema is not None) != (self.type == "json_schema"):
            raise ValueError("json_schema is expected with type 'json_schema', and only there")
        return self

    @property
    def grammar(self) -> Grammar | None:
        """What the engine is asked for; None for any text."""
        if self.type == "text":
            return None
        schema = self.json_schema.schema_ if self.json_schema else {"type": "object"}
        return Grammar("json", json.dumps(schema))


class StructuredOutputs(BaseModel):
    """vLLM's way: one of a JSON schema, a regular expression and a grammar."""

    model_config = ConfigDict(extra="forbid")

    json_: dict[str, Any] | None = Field(None, alias="json", description="A JSON schema.")
    regex: str | None = Field(None, description="A regular expression that the whole answer matches.")
    grammar_: str | None = Field(None, alias="grammar", description="A grammar in Lark's notation.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if [self.json_, self.regex, self.grammar_].count(None) != 2:
            raise ValueError("expected one of json, regex and grammar")
        return self

    @property
    def grammar(self) -> Grammar:
        """What the engine is asked for."""
        if self.json_ is not None:
            return Grammar("json", json.dumps(self.json_))
        if self.regex is not None:
            return Grammar("regex", self.regex)
        return Grammar("lark", self.grammar_ or "")
