"""LangChain messages to the role/content turns that a chat template reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
)

from kblam.errors import UnsupportedMessageError

__all__ = ["to_prompt"]

_TEXTS = frozenset({"text", "text-plain"})
# Blocks of a model's own earlier thoughts: no part of what it said, so left out of the history.
_THOUGHTS = frozenset({"reasoning", "thinking", "redacted_thinking"})
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
}


def to_prompt(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    """The turns of a conversation.

    Consecutive messages of one role stay separate: the question is the last of them. Names of
    speakers are ignored.

    Args:
        messages: System, human and AI messages whose content is text.

    Returns:
        One ``{"role", "content"}`` per message.

    Raises:
        UnsupportedMessageError: There is no message, or one holds something other than text.
    """
    if not messages:
        raise UnsupportedMessageError(
            "Expected at least one message, got none. Pass the question as a string or a message."
        )
    return [{"role": _role(message), "content": _text(message)} for message in messages]


def _role(message: BaseMessage) -> str:
    if isinstance(message, SystemMessage):
        return "system"
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, AIMessage):
        if message.tool_calls or message.invalid_tool_calls:
            raise UnsupportedMessageError(
                "Expected AI messages of text, got one with tool calls, which KBLaMChat cannot "
                "read yet. Leave the tool calls and their results out of the conversation."
            )
        return "assistant"
    if isinstance(message, ChatMessage) and message.role in _ROLES:
        return _ROLES[message.role]
    kind = type(message).__name__
    if isinstance(message, ChatMessage):
        kind = f"{kind} of role {message.role!r}"
    raise UnsupportedMessageError(
        f"Expected system, human and AI messages, got a {kind}. "
        "KBLaMChat does not call tools yet: pass what a tool returned in a human message."
    )


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(_block_texts(message.content, type(message).__name__))


def _block_texts(blocks: Sequence[str | dict[str, Any]], where: str) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, str):
            yield block
            continue
        kind = block.get("type")
        if kind in _TEXTS and isinstance(block.get("text"), str):
            yield block["text"]
        elif kind not in _THOUGHTS:
            raise UnsupportedMessageError(
                f"Expected text in a {where}, got a content block of type {kind!r}, which a text "
                "model cannot read. Leave it out, or describe it in words."
            )
