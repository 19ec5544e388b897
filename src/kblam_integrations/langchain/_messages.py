"""LangChain messages to the role/content turns that a chat template reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from kblam.errors import UnsupportedMessageError

__all__ = ["to_prompt"]

_TEXTS = frozenset({"text", "text-plain"})
# Blocks of a model's own earlier thoughts: no part of what it said, so left out of the history.
_THOUGHTS = frozenset({"reasoning", "thinking", "redacted_thinking"})
# Blocks that stand for calls of tools, which a message also has as its tool_calls.
_CALLS = frozenset(
    {"tool_use", "tool_call", "invalid_tool_call", "function_call", "input_json_delta"}
)
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
}


def to_prompt(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The turns of a conversation.

    Consecutive messages of one role stay separate: the question is the last of them. Names of
    speakers are ignored.

    Args:
        messages: System, human, AI and tool messages whose content is text.

    Returns:
        One ``{"role", "content"}`` per message, with the calls of tools that it makes, or the
        name and the call that it is the result of.

    Raises:
        UnsupportedMessageError: There is no message, or one holds something other than text.
    """
    if not messages:
        raise UnsupportedMessageError(
            "Expected at least one message, got none. Pass the question as a string or a message."
        )
    called: dict[str | None, str] = {}  # the names of tools by the calls made so far
    prompt = []
    for message in messages:
        turn: dict[str, Any] = {"role": _role(message), "content": _text(message)}
        if isinstance(message, AIMessage) and message.tool_calls:
            turn["tool_calls"] = _calls(message)
            called.update({call["id"]: call["name"] for call in message.tool_calls})
        elif isinstance(message, ToolMessage):
            turn["tool_call_id"] = message.tool_call_id
            turn["name"] = message.name or called.get(message.tool_call_id)
        elif isinstance(message, FunctionMessage):
            turn["name"] = message.name
        prompt.append(turn)
    return prompt


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    return [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": call["args"]},
        }
        for call in message.tool_calls
    ]


def _role(message: BaseMessage) -> str:
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, AIMessage):
        return "assistant"
    if isinstance(message, (ToolMessage, FunctionMessage)):
        return "tool"
    if isinstance(message, ChatMessage) and message.role in _ROLES:
        return _ROLES[message.role]
    kind = type(message).__name__
    if isinstance(message, ChatMessage):
        kind = f"{kind} of role {message.role!r}"
    raise UnsupportedMessageError(
        f"Expected system, human, AI and tool messages, got a {kind}. Make it one of these."
    )


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        texts = [message.content]
    else:
        skipped = _THOUGHTS | _CALLS if isinstance(message, AIMessage) else _THOUGHTS
        texts = list(_block_texts(message.content, type(message).__name__, skipped))
    if isinstance(message, AIMessage):
        # A call that could not be made is something the model said.
        texts.extend(call["args"] or "" for call in message.invalid_tool_calls)
    return "\n".join(text for text in texts if text)


def _block_texts(
    blocks: Sequence[str | dict[str, Any]], where: str, skipped: frozenset[str]
) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, str):
            yield block
            continue
        kind = block.get("type")
        if kind in _TEXTS and isinstance(block.get("text"), str):
            yield block["text"]
        elif kind not in skipped:
            raise UnsupportedMessageError(
                f"Expected text in a {where}, got a content block of type {kind!r}, which a text "
                "model cannot read. Leave it out, or describe it in words."
            )
