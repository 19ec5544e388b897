"""What a call asks of the model, and how often the model is asked for it.

A request says which attempt comes first, and which follows on what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kblam.answer import Answer, Usage
from kblam.config import GenerationOptions
from kblam.knowledge import View
from kblam.tools import InvalidToolCall, ToolCall, parse_tool_calls
from kblam_integrations._attempts import (
    Attempt,
    OfferedTools,
    has_results,
    held_to,
    question_in,
)

__all__ = ["Reply", "Request", "Tools"]


@dataclass(frozen=True)
class Tools(OfferedTools):
    """The tools of a call, and how they are called.

    Attributes:
        refusable: Whether a call that is wanted may be refused where the facts do not say what
            to call it with.
    """

    refusable: bool = False


@dataclass(frozen=True)
class Request:
    """What one call asks of the model.

    Attributes:
        prompt: The conversation.
        options: How to generate.
        view: The facts that the caller may see; None for all.
        timeout: Seconds, or None.
        tools: Those that may be called, or None.
    """

    prompt: Sequence[Mapping[str, Any]]
    options: GenerationOptions
    view: View | None = None
    timeout: float | None = None
    tools: Tools | None = None

    @property
    def first(self) -> Attempt:
        """What the model is asked first."""
        # What a tool returned answers the question, whether or not the facts say it too.
        refusing = not has_results(self.prompt)
        tools = self.tools
        if tools is None:
            return Attempt(self.options, refusing=refusing)
        if tools.choice != "auto":
            options = held_to(tools.required_call(question_in(self.prompt)), self.options)
            refusing = refusing and tools.refusable
            return Attempt(options, tools.known, refusing, calling=True)
        return tools.answering(self.prompt, self.options, refusing=refusing)

    def after(self, attempt: Attempt, answer: Answer) -> Attempt | None:
        """What the model is asked after this came of an attempt; None if it is the reply."""
        if not answer.refused:
            return None
        if attempt.reading and not attempt.refusing:
            # Only who may see no fact at all is refused here: nothing is lost without them.
            return replace(attempt, reading=False)
        if self.tools is None or self.tools.choice != "auto" or attempt.calling:
            return None
        form = self.tools.fitting_call(question_in(self.prompt))
        if form is None:
            return None
        options = held_to(form, self.options)
        return Attempt(options, self.tools.known, refusing=False, reading=False, calling=True)


@dataclass(frozen=True)
class Reply:
    """What the model said to a request.

    Attributes:
        answer: The last attempt's; its usage is that of all of them.
        text: What it says beside the calls.
        calls: The calls of tools in it.
        invalid: What looks like a call and is none.
    """

    answer: Answer
    text: str
    calls: tuple[ToolCall, ...] = ()
    invalid: tuple[InvalidToolCall, ...] = ()

    @classmethod
    def of(cls, request: Request, answer: Answer, before: Usage) -> Reply:
        """The reply that an answer is, after attempts that used so many tokens before."""
        answer = replace(answer, usage=before + answer.usage)
        if request.tools is None or answer.refused:
            return cls(answer, answer.text)
        text, calls, invalid = parse_tool_calls(answer.text, request.tools.known)
        return cls(answer, text, tuple(calls), tuple(invalid))
