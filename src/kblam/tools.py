"""Tools that a model may call: how they are shown to it, and its calls read back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kblam.errors import ConfigError

__all__ = ["CALL_MARKERS", "InvalidToolCall", "Tool", "ToolCall", "parse_tool_calls", "tool_names"]

# As OpenAI describes one: {"type": "function", "function": {"name", "description", "parameters"}}.
Tool = Mapping[str, Any]

# What model families write around a call: Hermes, Qwen and SmolLM; Mistral; Llama.
_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_TAG = "<tool_call>"
_MARKERS = ("[TOOL_CALLS]", "<|python_tag|>")
# What a call stands behind where it is not the whole answer.
CALL_MARKERS = (_TAG, *_MARKERS)


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool.

    Attributes:
        name: The tool.
        arguments: What it is called with.
    """

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class InvalidToolCall:
    """What looks like a call of a tool and cannot be made.

    Attributes:
        text: As it was written.
        error: What is wrong with it.
    """

    text: str
    error: str


def tool_names(tools: Sequence[Tool]) -> list[str]:
    """The names of tools.

    Raises:
        ConfigError: A tool is not described as OpenAI describes one, or two have one name.
    """
    names = []
    given: Sequence[object] = tools
    for tool in given:
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not name:
            raise ConfigError(
                'Expected a tool as {"type": "function", "function": {"name": ..., '
                f'"description": ..., "parameters": ...}}}}, got {tool!r:.200}.'
            )
        names.append(name)
    if len(set(names)) < len(names):
        raise ConfigError(f"Expected tools with names of their own, got {', '.join(names)}.")
    return names


def parse_tool_calls(
    text: str, tools: Sequence[Tool]
) -> tuple[str, list[ToolCall], list[InvalidToolCall]]:
    """Read the calls of tools out of an answer.

    A call is JSON with ``name`` and ``arguments`` (or ``parameters``), which is the whole
    answer, a list of them, or stands in the tags or after the marker that a model family uses.

    Args:
        text: The answer.
        tools: Those that may be called.

    Returns:
        The text without its calls, the calls, and what looks like one and is none.

    Raises:
        ConfigError: A tool is malformed.
    """
    known = tool_names(tools)
    if not known:
        return text, [], []
    if _TAG in text:
        written = [found.group(1) for found in _TAGGED.finditer(text)]
        return _sorted(_TAGGED.sub("", text).strip(), written, known)
    for marker in _MARKERS:
        before, found, after = text.partition(marker)
        if found:
            return _sorted(before.strip(), [after.strip()], known)
    # Bare JSON is a call only if it has a call's parts: an answer may be JSON too.
    try:
        content = json.loads(text)
    except ValueError:
        return text, [], []
    items = content if isinstance(content, list) else [content]
    if not items or not all(isinstance(item, dict) and _has_parts(item) for item in items):
        return text, [], []
    return _sorted("", [text.strip()], known)


def _sorted(
    text: str, written: Sequence[str], known: Sequence[str]
) -> tuple[str, list[ToolCall], list[InvalidToolCall]]:
    calls: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in (call for one in written for call in _calls(one, known)):
        if isinstance(call, ToolCall):
            calls.append(call)
        else:
            invalid.append(call)
    return text, calls, invalid


def _calls(written: str, known: Sequence[str]) -> Iterator[ToolCall | InvalidToolCall]:
    try:
        content = json.loads(written)
    except ValueError as error:
        yield InvalidToolCall(written, f"Expected JSON, got what cannot be read: {error}.")
        return
    for item in content if isinstance(content, list) else [content]:
        yield _call(item, written, known)


def _call(item: Any, written: str, known: Sequence[str]) -> ToolCall | InvalidToolCall:
    if not isinstance(item, dict) or not _has_parts(item):
        return InvalidToolCall(written, 'Expected {"name": ..., "arguments": {...}}.')
    name, arguments = item["name"], item.get("arguments", item.get("parameters"))
    if name not in known:
        return InvalidToolCall(written, f"Expected one of {', '.join(known)}, got {name!r}.")
    if isinstance(arguments, str):  # some write the arguments as JSON in a string
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = None
    if not isinstance(arguments, dict):
        return InvalidToolCall(written, "Expected the arguments as a JSON object.")
    return ToolCall(name, arguments)


def _has_parts(item: Mapping[str, Any]) -> bool:
    return "name" in item and ("arguments" in item or "parameters" in item)
