"""What a caller asks a model to generate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kblam._prompt import Message
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
