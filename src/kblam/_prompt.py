"""Prompts: chat messages to padded tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from kblam._chat_template import write_out
from kblam._tool_turns import in_plain_turns, knows_tools
from kblam.encoding import names_something
from kblam.errors import ConfigError, PromptTooLongError
from kblam.tools import Tool

__all__ = [
    "Message",
    "Prompt",
    "as_messages",
    "asked_before",
    "check_lengths",
    "pad_prompts",
    "question_of",
    "same_room",
    "tokenize",
]

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]
_ROLES = ("system", "user", "assistant", "tool")
# Fewer words than "who leads aurora" hold no name and what is asked of it.
_WHOLE = 3
_POINTING = frozenset(
    ("he", "her", "hers", "him", "his", "it", "its", "she", "their", "theirs", "them", "they",
     "that", "this", "these", "those")
)  # fmt: skip


@dataclass(frozen=True)
class PaddedPrompts:
    """A batch of prompts, padded on the left.

    Attributes:
        input_ids: (B, T).
        attention_mask: (B, T), 1 on real tokens.
        lengths: Real tokens of each row.
    """

    input_ids: Tensor
    attention_mask: Tensor
    lengths: tuple[int, ...]


def as_messages(prompt: Prompt) -> list[dict[str, Any]]:
    """A prompt as chat messages; a string is one user message.

    Raises:
        ConfigError: A message lacks a role or text, a call of a tool its parts, or nothing was
            asked.
    """
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, Sequence):
        raise ConfigError(
            f"Expected a question or a list of chat messages, got {type(prompt).__name__}."
        )
    messages = [_as_message(message) for message in prompt]
    if not any(m["role"] == "user" and m["content"].strip() for m in messages):
        raise ConfigError("Expected a question, got an empty prompt. Ask something.")
    return messages


def _as_message(given: object) -> dict[str, Any]:
    message: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    role, content = message.get("role"), message.get("content")
    calls = message.get("tool_calls") or ()
    if content is None and calls:
        content = ""  # a turn that only calls tools says nothing
    if role not in _ROLES or not isinstance(content, str):
        raise ConfigError(
            f"Expected messages with a 'role' of {_ROLES} and a 'content' of text, got "
            f"{given!r:.200}."
        )
    found: dict[str, Any] = {"role": role, "content": content}
    if role == "tool":
        found.update({k: message[k] for k in ("name", "tool_call_id") if message.get(k)})
    elif calls:
        if role != "assistant" or not all(map(_is_call, calls)):
            raise ConfigError(
                "Expected calls of tools in assistant messages, each {'type': 'function', "
                f"'function': {{'name': ..., 'arguments': {{...}}}}}}, got {given!r:.300}."
            )
        found["tool_calls"] = list(calls)
    return found


def _is_call(call: object) -> bool:
    function = call.get("function") if isinstance(call, Mapping) else None
    return (
        isinstance(function, Mapping)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), Mapping)
    )


def question_of(messages: Sequence[Message]) -> str:
    """What the user asks: the last user message."""
    return str(next(m["content"] for m in reversed(messages) if m["role"] == "user")).strip()


def asked_before(messages: Sequence[Message]) -> str:
    """What the user asked before that, which it may lean on; empty where there is nothing.

    That is the message before, unless it leans on another one itself ("And its weight?") or asks
    nothing ("Thanks!"): then it is the last one that does neither.
    """
    asked = [m["content"].strip() for m in messages if m["role"] == "user"][:-1]
    return next((text for text in reversed(asked) if not _leans(text)), asked[-1] if asked else "")


def _leans(text: str) -> bool:
    """Whether a message says nothing of what it is about."""
    if names_something(text, ()):
        return False
    words = text.lower().replace("'", " ").replace("\u2019", " ").strip("?!. ").split()
    return len(words) < _WHOLE or not _POINTING.isdisjoint(words)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], tools: Sequence[Tool] = ()
) -> list[int]:
    """The tokens of a prompt, ready for the answer to follow.

    Args:
        tokenizer: The base model's.
        messages: Of :func:`as_messages`.
        tools: Shown to the model through its chat template, or in a system message.

    Raises:
        ConfigError: The chat template refuses the conversation.
    """
    shown: list[Any] = [dict(tool) for tool in tools]
    if not knows_tools(tokenizer.chat_template):
        messages, shown = in_plain_turns(messages, tools), []
    if tokenizer.chat_template:
        text = write_out(tokenizer, messages, shown)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    # A base model without a template: plain turns, as its training texts have them.
    names = {"system": "", "user": "Question: ", "assistant": "Answer: "}
    text = "".join(f"{names[m['role']]}{m['content']}\n" for m in messages) + "Answer:"
    return list(tokenizer(text)["input_ids"])


def check_lengths(lengths: Sequence[int], context: int) -> None:
    """Refuse prompts without room for an answer.

    Raises:
        PromptTooLongError: There is one.
    """
    if (longest := max(lengths)) >= context:
        raise PromptTooLongError(
            f"Expected a prompt of fewer than {context} tokens, the model's context, got "
            f"{longest}. Shorten the question or the conversation."
        )


def same_room(
    rows: Sequence[int], lengths: Sequence[int], wanted: int, context: int
) -> list[list[int]]:
    """Rows in groups whose answers have the same room, so that none takes any from another.

    A batch ends where its longest prompt meets the end of the context. Those with room for all the
    tokens wanted are one group; of the others only prompts of one length have the same.

    Args:
        rows: In a batch.
        lengths: Tokens of all prompts of that batch.
        wanted: Tokens that an answer may have.
        context: Tokens that the model can read and write.
    """
    groups: dict[int, list[int]] = {}
    for row in rows:
        groups.setdefault(min(wanted, context - lengths[row]), []).append(row)
    return list(groups.values())


def pad_prompts(
    prompts: Sequence[Sequence[int]], pad_token: int, context: int, device: torch.device
) -> PaddedPrompts:
    """Pad on the left.

    Args:
        prompts: Tokens of each prompt.
        pad_token: What to pad with.
        context: Tokens that the model can read and write.
        device: Where the tensors go.

    Raises:
        PromptTooLongError: A prompt leaves no room for an answer.
    """
    lengths = tuple(len(prompt) for prompt in prompts)
    check_lengths(lengths, context)
    longest = max(lengths)
    ids = torch.full((len(prompts), longest), pad_token, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        mask[row, longest - len(prompt) :] = 1
    return PaddedPrompts(ids.to(device), mask.to(device), lengths)
