"""Counting the tokens of conversations, also of those that nobody could answer."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from kblam._chat_template import TemplateRefusedError
from kblam._prompt import Prompt, as_messages, tokenize
from kblam.tools import Tool

__all__ = ["count_tokens"]

_QUESTION = {"role": "user", "content": "?"}


def count_tokens(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, tools: Sequence[Tool] = ()
) -> int:
    """Tokens of a prompt as a model reads it.

    Parts of a conversation count too, as whoever trims one asks about them. Some chat templates
    refuse a part without a question; its turns are then counted without the template.

    Raises:
        ConfigError: A message lacks a role or text.
    """
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    # A question is added for the check of the messages, and taken away again.
    messages = as_messages([*turns, _QUESTION])[:-1]
    if not messages:
        return 0
    try:
        return len(tokenize(tokenizer, messages, tools))
    except TemplateRefusedError:
        text = "".join(f"{turn['role']}\n{turn['content']}\n" for turn in messages)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])
