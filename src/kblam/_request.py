"""What a caller asks a model to generate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from transformers import PreTrainedTokenizerBase

from kblam._prompt import Message, tokenize
from kblam.config import GenerationOptions, RefusalConfig
from kblam.tools import Tool

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """What to generate.

    Attributes:
        prompts: Chat messages of each prompt.
        options: How.
        grounding: Whether values are copied.
        refusal: When and how to refuse.
        exact: Score every fact, also where an index could tell which are worth it.
        tools: Those that the model is shown.
        trace: Keep the fact attention.
        on_text: Called with the text so far, for a single prompt.
        cancelled: Asked after every token.
        tokens: Those of each prompt, once it is tokenized.
        tokenizing: Seconds that this took, which are a part of those of an answer.
    """

    prompts: Sequence[Sequence[Message]]
    options: GenerationOptions
    grounding: Literal["copy", "off"]
    refusal: RefusalConfig
    exact: bool = False
    tools: Sequence[Tool] = ()
    trace: bool = False
    on_text: Callable[[str], None] | None = None
    cancelled: Callable[[], bool] | None = None
    tokens: Sequence[Sequence[int]] = ()
    tokenizing: float = 0.0

    def tokenized(self, tokenizer: PreTrainedTokenizerBase) -> Request:
        """The same with its prompts' tokens.

        Raises:
            ConfigError: The chat template refuses a conversation.
        """
        started = time.perf_counter()
        tokens = [tokenize(tokenizer, prompt, self.tools) for prompt in self.prompts]
        return replace(self, tokens=tokens, tokenizing=time.perf_counter() - started)

    def only(self, rows: Sequence[int]) -> Request:
        """The same for some of its prompts."""
        prompts = [self.prompts[row] for row in rows]
        return replace(self, prompts=prompts, tokens=[self.tokens[row] for row in rows])
