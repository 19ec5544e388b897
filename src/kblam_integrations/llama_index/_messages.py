"""LlamaIndex chat messages as kblam's messages."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock

from kblam.errors import UnsupportedMessageError

__all__ = ["to_messages"]

_ROLES = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
}


def to_messages(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Turn chat messages into ``{"role", "content"}`` mappings.

    Raises:
        UnsupportedMessageError: There is no message, a role has no counterpart, or a
            block is not text.
    """
    if not messages:
        raise UnsupportedMessageError(
            "Expected at least one chat message, got none. Add the user's question."
        )
    return [{"role": _role(message), "content": _text(message)} for message in messages]


def _role(message: ChatMessage) -> str:
    try:
        return _ROLES[message.role]
    except KeyError:
        raise UnsupportedMessageError(
            f"Expected messages from the roles {sorted({role.value for role in _ROLES})}, got "
            f"{message.role.value!r}. KBLaMLLM does not call tools: pass what a tool returned in "
            "a user message."
        ) from None


def _text(message: ChatMessage) -> str:
    parts: list[str] = []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            parts.append(block.text)
        elif block.block_type != "thinking":  # another model's notes are not part of a turn
            raise UnsupportedMessageError(
                f"Expected text in a chat message, got a {type(block).__name__}. "
                "KBLaMLLM reads text only: remove the block, or describe it in words."
            )
    return "\n".join(parts)
