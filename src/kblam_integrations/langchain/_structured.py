"""Structured output: schemas as forms that replies are held to, and replies as their instances."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from kblam.errors import ConfigError, ConstraintError, RefusedError

__all__ = ["Method", "arguments_of", "parser"]

Method = Literal["json_schema", "function_calling", "json_mode"]


def arguments_of(schema: Any, method: Method) -> dict[str, Any]:
    """What a call is bound to, so that its reply is an instance of a schema.

    Args:
        schema: A pydantic class, a TypedDict, a JSON schema, or OpenAI's form of one; None,
            for ``"json_mode"`` only, is any object.
        method: How.

    Raises:
        ConfigError: The method is none, or there is no schema.
        ConstraintError: The schema is none.
    """
    if method not in ("json_schema", "function_calling", "json_mode"):
        raise ConfigError(
            "Expected method to be 'json_schema', 'function_calling' or 'json_mode', got "
            f"{method!r}."
        )
    if schema is None:
        if method != "json_mode":
            raise ConfigError(f"Expected a schema for the method {method!r}, got None.")
        return {"response_format": {"type": "json_object"}}
    traced = {"ls_structured_output_format": {"kwargs": {"method": method}, "schema": schema}}
    if method == "function_calling":
        tool = _as_tool(schema)
        name = tool["function"]["name"]
        return {"tools": [tool], "tool_choice": name, "refusable": True, **traced}
    wanted = {"name": "answer", "schema": _json_schema(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}, **traced}


def parser(schema: Any, *, include_raw: bool) -> RunnableLambda[AIMessage, Any]:
    """Makes an instance of the schema of a reply.

    Args:
        schema: As of :func:`arguments_of`.
        include_raw: Return the reply, the instance and the error, as a dict.
    """
    parse = _raw_and_parsed if include_raw else _parsed

    def make(message: AIMessage) -> Any:
        return parse(message, schema)

    async def amake(message: AIMessage) -> Any:
        return parse(message, schema)

    return RunnableLambda(make, afunc=amake, name="parse")


def _raw_and_parsed(message: AIMessage, schema: Any) -> dict[str, Any]:
    try:
        parsed, error = _parsed(message, schema), None
    except Exception as problem:
        parsed, error = None, problem
    return {"raw": message, "parsed": parsed, "parsing_error": error}


def _parsed(message: AIMessage, schema: Any) -> Any:
    if message.response_metadata.get("refused"):
        raise RefusedError(
            f"Expected facts that say what was asked, found none: {message.text!r}. Ask about "
            "what the knowledge base holds, or set refusal_threshold=1.0 to have it filled in "
            "all the same."
        )
    data = message.tool_calls[0]["args"] if message.tool_calls else json.loads(message.text)
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        validate: Callable[[Any], Any] = (
            schema.model_validate if issubclass(schema, BaseModel) else schema.parse_obj  # type: ignore[attr-defined]
        )
        return validate(data)
    return data


def _json_schema(schema: Any) -> Mapping[str, Any]:
    """As it says itself, where it does: LangChain's form leaves limits and patterns out."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        own: Mapping[str, Any] = (
            schema.model_json_schema() if issubclass(schema, BaseModel) else schema.schema()  # type: ignore[attr-defined]
        )
        return own
    if isinstance(schema, Mapping) and "parameters" not in schema and "function" not in schema:
        return schema
    try:
        return convert_to_json_schema(schema)
    except (TypeError, ValueError) as error:
        raise ConstraintError(
            "Expected a pydantic class, a TypedDict, or a JSON schema as a dict, got "
            f"{schema!r:.200}: {error}."
        ) from error


def _as_tool(schema: Any) -> dict[str, Any]:
    wanted = _json_schema(schema)
    try:
        found = convert_to_openai_tool(schema)
    except (TypeError, ValueError, KeyError):  # a JSON schema that has no title
        found = {"type": "function", "function": {"name": "answer", "description": ""}}
    return {**found, "function": {**found["function"], "parameters": wanted}}
