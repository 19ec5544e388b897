"""Conversations as a chat template writes them, also one that knows no system message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from kblam.errors import ConfigError

__all__ = ["TemplateRefusedError", "write_out"]


class TemplateRefusedError(ConfigError):
    """A chat template refuses a conversation of this form."""


def write_out(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any]
) -> str:
    """The text of a conversation, up to where the answer begins.

    Templates without a system role (Gemma 1 and 2, early Mistral) get the system message's text
    at the head of the first question, as their makers advise.

    Args:
        tokenizer: The base model's, with a chat template.
        messages: Checked messages.
        tools: What the template may show of tools.

    Raises:
        TemplateRefusedError: The template takes no such conversation, in either form.
    """
    # PyTorch brings it; only templates need it.
    from jinja2 import TemplateError

    try:
        return _applied(tokenizer, messages, tools)
    except TemplateError as error:
        problem = error
    try:
        return _applied(tokenizer, _without_system(messages), tools)
    except TemplateError:
        roles = ", ".join(message["role"] for message in messages)
        raise TemplateRefusedError(
            f"Expected a conversation that the model's chat template takes, got the roles {roles}; "
            f"the template says: {problem}. Change their order, or use another template."
        ) from problem


def _applied(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any]
) -> str:
    text = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tools=list(tools) or None,
        tokenize=False,
        add_generation_prompt=True,
    )
    return str(text)


def _without_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same with system texts at the head of the first user message."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    first = next((i for i, message in enumerate(rest) if message["role"] == "user"), None)
    if first is not None and system:
        text = "\n\n".join([*system, rest[first]["content"]])
        rest[first] = {**rest[first], "content": text}
    return rest if first is not None else list(messages)
