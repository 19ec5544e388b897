"""Tools and forms as LangChain gives them, as kblam takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.utils.function_calling import convert_to_openai_tool

from kblam.constraint import OutputConstraint
from kblam.errors import ConfigError
from kblam.tools import tool_names
from kblam_integrations._attempts import tool_choice_of
from kblam_integrations._fitting import ToolFit
from kblam_integrations.langchain._request import Tools

__all__ = ["as_form", "as_tools", "in_openai_form"]


def in_openai_form(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Functions, pydantic classes, LangChain tools and dicts, as OpenAI describes tools.

    Raises:
        ConfigError: One of them is no tool.
    """
    return [_in_openai_form(tool) for tool in tools]


def _in_openai_form(tool: Any) -> dict[str, Any]:
    try:
        found = convert_to_openai_tool(tool)
        tool_names([found])
        return found
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "Expected a function with a docstring, a pydantic class, a LangChain tool or a dict "
            f"that describes one, got {tool!r:.200}: {error}."
        ) from error


def as_tools(given: Mapping[str, Any], *, shown: bool, fit: ToolFit) -> Tools | None:
    """The tools among a call's arguments, if there are any to be called.

    Args:
        given: The arguments.
        shown: Whether a model that may answer is shown them.
        fit: Tells which of them a question is about.

    Raises:
        ConfigError: Something is no tool, or the choice is none.
    """
    tools = in_openai_form(given.get("tools") or ())
    wanted = tool_choice_of(given.get("tool_choice"), tool_names(tools))
    if wanted is None or not tools:
        return None
    return Tools(
        tuple(tools),
        fit,
        wanted,
        shown,
        refusable=bool(given.get("refusable")),
    )


def as_form(response_format: Any) -> OutputConstraint | None:
    """The form that OpenAI's ``response_format`` stands for.

    Raises:
        ConfigError: It is none.
        ConstraintError: Its schema is malformed or not supported.
    """
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return OutputConstraint.json_schema({"type": "object"})
    schema = (response_format.get("json_schema") or {}).get("schema") if kind else None
    if kind == "json_schema" and schema is not None:
        return OutputConstraint.json_schema(schema)
    raise ConfigError(
        "Expected a response_format as {'type': 'json_schema', 'json_schema': {'name': ..., "
        "'schema': {...}}} or {'type': 'json_object'}, got "
        f"{response_format!r:.200}. Or use with_structured_output()."
    )
