"""LlamaIndex chat messages as kblam's messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)

from kblam.errors import UnsupportedMessageError

__all__ = ["arguments_of", "to_messages"]

_ROLES = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def to_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Turn chat messages into ``{"role", "content"}`` mappings, with calls of tools.

    Raises:
        UnsupportedMessageError: There is no message, or a block is neither text nor a call.
    """
    if not messages:
        raise UnsupportedMessageError(
            "Expected at least one chat message, got none. Add the user's question."
        )
    names: dict[Any, str] = {}  # of the tools called, by the call's id
    return [_to_message(message, names) for message in messages]


def _to_message(message: ChatMessage, names: dict[Any, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"role": _ROLES[message.role], "content": _text(message)}
    if calls := [block for block in message.blocks if isinstance(block, ToolCallBlock)]:
        found["tool_calls"] = [_to_call(block) for block in calls]
        names.update((block.tool_call_id, block.tool_name) for block in calls)
    if found["role"] == "tool":
        # What a tool returned says whose call it answers; the call says which tool it was.
        id_ = message.additional_kwargs.get("tool_call_id")
        name = message.additional_kwargs.get("name") or names.get(id_)
        found.update({"tool_call_id": id_} if id_ else {}, **({"name": name} if name else {}))
    return found


def arguments_of(block: ToolCallBlock) -> dict[str, Any]:
    """The arguments of a call, which a block may have as text.

    Raises:
        UnsupportedMessageError: The text is no JSON.
    """
    arguments = block.tool_kwargs
    if isinstance(arguments, dict):
        return arguments
    try:
        parsed: dict[str, Any] = json.loads(arguments or "{}")
    except ValueError as error:
        raise UnsupportedMessageError(
            f"Expected the arguments of the tool {block.tool_name!r} as JSON, got "
            f"{arguments!r:.100}: {error}."
        ) from error
    return parsed


def _to_call(block: ToolCallBlock) -> dict[str, Any]:
    function = {"name": block.tool_name, "arguments": arguments_of(block)}
    return {"id": block.tool_call_id, "type": "function", "function": function}


def _text(message: ChatMessage) -> str:
    parts: list[str] = []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            parts.append(block.text)
        # Calls stand beside the text; another model's notes are not part of a turn.
        elif block.block_type not in ("thinking", "tool_call"):
            raise UnsupportedMessageError(
                f"Expected text in a chat message, got a {type(block).__name__}. "
                "KBLaMLLM reads text only: remove the block, or describe it in words."
            )
    return "\n".join(parts)
