"""Forms that an answer can be held to: a JSON schema, a regular expression, a choice, a grammar."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kblam.errors import ConstraintError, require
from kblam.tools import Tool, tool_names

__all__ = ["OutputConstraint"]

# Between the parts of an object, as most texts that a model was trained on write it.
_JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# Keywords whose values are data, with which several schemas meet, and which say what else there is.
_LITERAL = frozenset({"const", "enum", "default", "examples", "properties"})
_COMBINED = ("allOf", "not", "if", "$dynamicRef")
_OPEN = ("additionalProperties", "patternProperties", "unevaluatedProperties", "anyOf", "oneOf")


@dataclass(frozen=True)
class OutputConstraint:
    """A form that every answer has: what does not fit it cannot be generated.

    Made by one of the class methods, which check it. Needs the extra ``structured``.

    Attributes:
        grammar: The form as llguidance reads it.
        is_json: Whether answers are JSON, in which values are copied with their escapes.
        fields: What JSON objects in it call their properties, as far as a schema names them.
    """

    grammar: str
    is_json: bool = False
    fields: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        matcher = require("llguidance", extra="structured").LLMatcher
        failed, messages = matcher.validate_grammar_with_warnings(self.grammar)
        if failed:
            raise ConstraintError(
                f"Expected a form that answers can be held to, got one that is malformed or not "
                f"supported: {messages[0]:.500}. Simplify it."
            )

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any]) -> OutputConstraint:
        """JSON, on one line, that is valid under a schema.

        Objects have the properties that the schema names and no others, unless it says what
        others may be (``additionalProperties``).

        Args:
            schema: A JSON schema; ``{}`` is any JSON.

        Raises:
            ConstraintError: The schema is malformed, has no instance, or uses a keyword that
                is not supported.
            MissingExtraError: llguidance is not installed.
        """
        given: object = schema
        if not isinstance(given, Mapping):
            raise ConstraintError(
                f"Expected a JSON schema as a mapping, got {given!r:.100}. For a pydantic model, "
                "give model.model_json_schema()."
            )
        matcher = require("llguidance", extra="structured").LLMatcher
        try:
            text = json.dumps(_closed(schema))
            grammar = matcher.grammar_from_json_schema(text, defaults=_JSON_STYLE)
        except (TypeError, ValueError) as error:
            raise ConstraintError(f"Expected a JSON schema, got what is none: {error}.") from error
        return cls(grammar, is_json=True, fields=frozenset(_fields(schema)))

    @classmethod
    def regex(cls, pattern: str) -> OutputConstraint:
        """Text that a regular expression matches as a whole.

        Raises:
            ConstraintError: The pattern is malformed or uses what cannot be matched token by
                token, such as back references.
            MissingExtraError: llguidance is not installed.
        """
        return cls(require("llguidance", extra="structured").LLMatcher.grammar_from_regex(pattern))

    @classmethod
    def choice(cls, texts: Iterable[str]) -> OutputConstraint:
        """One of several texts.

        Raises:
            ConstraintError: There is none, or an empty one.
            MissingExtraError: llguidance is not installed.
        """
        given = [] if isinstance(texts, str) else list(texts)
        if not given or not all(given):
            raise ConstraintError(
                f"Expected a list of texts to choose from, none of them empty, got {texts!r:.100}."
            )
        return cls.lark("start: " + " | ".join(json.dumps(t, ensure_ascii=False) for t in given))

    @classmethod
    def lark(cls, grammar: str) -> OutputConstraint:
        """Text that a grammar in Lark's notation derives; its first rule is ``start``.

        Raises:
            ConstraintError: The grammar is malformed.
            MissingExtraError: llguidance is not installed.
        """
        return cls(require("llguidance", extra="structured").LLMatcher.grammar_from_lark(grammar))

    @classmethod
    def tool_call(cls, tools: Sequence[Tool], name: str | None = None) -> OutputConstraint:
        """A call of a tool: ``{"name": ..., "arguments": {...}}``, the arguments as it wants them.

        Args:
            tools: As OpenAI describes them: ``{"type": "function", "function": {"name",
                "description", "parameters"}}``.
            name: The tool to call; None lets the model choose.

        Raises:
            ConfigError: A tool is malformed.
            ConstraintError: There is none of that name, or its parameters are no JSON schema.
            MissingExtraError: llguidance is not installed.
        """
        known = tool_names(tools)
        if not known:
            raise ConstraintError("Expected at least one tool to call, got none.")
        if name is not None and name not in known:
            raise ConstraintError(f"Expected one of the tools {', '.join(known)}, got {name!r}.")
        calls = [
            _call_schema(tool)
            for tool, own in zip(tools, known, strict=True)
            if name is None or own == name
        ]
        return cls.json_schema({"anyOf": calls, "$defs": _definitions(tools)})


def _fields(schema: Any) -> Iterator[str]:
    """The names of properties anywhere in a schema."""
    if isinstance(schema, list):
        for item in schema:
            yield from _fields(item)
    elif isinstance(schema, Mapping):
        named = schema.get("properties")
        if isinstance(named, Mapping):
            yield from named
            yield from _fields(list(named.values()))
        for key, value in schema.items():
            if key not in _LITERAL:
                yield from _fields(value)


def _closed(schema: Any) -> Any:
    """Add to a schema that its objects have no properties but those it names.

    A small model would go on inventing properties that nobody asked for. Where several schemas
    hold for one object, each must leave room for what the others name.
    """
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if any(keyword in schema for keyword in _COMBINED):
        return dict(schema)
    closed = {key: value if key in _LITERAL else _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), Mapping):
        # What properties are called may be the name of a keyword.
        named = schema["properties"].items()
        closed["properties"] = {name: _closed(value) for name, value in named}
        if not any(keyword in schema for keyword in _OPEN):
            closed["additionalProperties"] = False
    return closed


def _call_schema(tool: Tool) -> dict[str, Any]:
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, Mapping):
        raise ConstraintError(
            f"Expected the parameters of the tool {function['name']!r} as a JSON schema, got "
            f"{parameters!r:.200}."
        )
    # Definitions are found from the root, where they are put.
    arguments = {key: value for key, value in parameters.items() if key not in ("$defs", "$schema")}
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _definitions(tools: Sequence[Tool]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tool in tools:
        for name, schema in ((tool["function"].get("parameters") or {}).get("$defs") or {}).items():
            if found.setdefault(name, schema) != schema:
                raise ConstraintError(
                    f"Expected the definition {name!r} to be the same in all tools, got two. "
                    "Rename one of them."
                )
    return found
