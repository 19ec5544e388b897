"""What a call asks of the model, and how often the model is asked for it.

A reply may take two attempts, of which this says what they are and joins what they give.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.constraint import OutputConstraint
from kblam.knowledge import View
from kblam.model import KBLaM
from kblam.tools import CALL_MARKERS, ToolCall, parse_tool_calls
from kblam_integrations._attempts import (
    Attempt,
    OfferedTools,
    has_results,
    held_to,
    question_in,
)
from kblam_integrations._leaving import Leaving

__all__ = ["Asked", "Piece", "Tools", "pieces_of"]

# How a call begins where it is the whole answer.
_BEGINNINGS = ("{", "[")


@dataclass(frozen=True)
class Tools(OfferedTools):
    """The tools of a call, and how many of them a reply may call.

    Attributes:
        several: Whether a reply may call more than one.
    """

    several: bool = False

    def read(self, text: str) -> tuple[str, tuple[ToolCall, ...], bool]:
        """An answer's text without its calls, the calls, and whether it has only broken ones."""
        text, calls, invalid = parse_tool_calls(text, self.known)
        return text, tuple(calls if self.several else calls[:1]), bool(invalid) and not calls


@dataclass(frozen=True)
class Piece:
    """A reply so far.

    Attributes:
        text: What it says.
        delta: What is new of it.
        answer: Where it is complete, the model's answer, with the usage of all attempts.
        calls: Then, the tools that it calls.
    """

    text: str
    delta: str
    answer: Answer | None = None
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What one call asks of the model.

    Attributes:
        messages: The conversation.
        options: How to generate.
        view: Which facts.
        tools: Those that may be called, or None.
    """

    messages: Sequence[Mapping[str, Any]]
    options: GenerationOptions
    view: View | None = None
    tools: Tools | None = None

    @property
    def first(self) -> Attempt:
        """What the model is asked first."""
        # What a tool returned answers the question, whether or not the facts say it too.
        refusing = not has_results(self.messages)
        tools = self.tools
        if tools is None:
            return Attempt(self.options, refusing=refusing)
        if tools.choice != "auto":
            return self._calling(tools, tools.required_call(question_in(self.messages)))
        return tools.answering(self.messages, self.options, refusing=refusing)

    def after(self, attempt: Attempt, answer: Answer) -> Attempt | None:
        """What the model is asked after this came of an attempt; None if it is the reply."""
        if answer.refused and attempt.reading and not attempt.refusing:
            # Only who may see no fact at all is refused here: nothing is lost without them.
            return replace(attempt, reading=False)
        if self.tools is None or attempt.calling:
            return None
        question = question_in(self.messages)
        if answer.refused:
            form = self.tools.fitting_call(question)
            return None if form is None else self._calling(self.tools, form, reading=False)
        if self.tools.read(answer.text)[2]:
            return self._calling(self.tools, self.tools.required_call(question))
        return None

    def _calling(self, tools: Tools, form: OutputConstraint, *, reading: bool = True) -> Attempt:
        options = held_to(form, self.options)
        return Attempt(options, tools.known, False, reading, calling=True)


def pieces_of(
    kblam: KBLaM, asked: Asked, left: Leaving | None = None
) -> Generator[Piece, None, None]:
    """A reply as it is written; the last piece has the answer, unless everybody has left.

    A call of a tool is no text, and a refusal that a call follows was never said.

    Args:
        kblam: The model.
        asked: What is wanted of it.
        left: Tells that nobody waits any more.
    """
    attempt, before = asked.first, None
    while True:
        if left is not None and left.is_set():
            return
        stream = attempt.model(kblam).stream(
            asked.messages, attempt.options, view=asked.view, tools=attempt.tools
        )
        text, told = "", ""
        with closing(stream):
            if left is not None:
                left.then(stream.close)
            for delta in stream:
                text += delta
                # What comes with the answer is told below, or was refused.
                certain = text if asked.tools is None else _certain(text)
                if len(certain) > len(told) and not stream.finished and not attempt.calling:
                    yield Piece(certain, certain[len(told) :])
                    told = certain
            if not stream.finished:
                return
        answer = stream.answer if before is None else _joined(before, stream.answer)
        following = asked.after(attempt, answer)
        if following is None:
            yield _last(asked, answer, told)
            return
        before, attempt = answer, following


def _last(asked: Asked, answer: Answer, told: str) -> Piece:
    text, calls = answer.text, tuple[ToolCall, ...]()
    if asked.tools is not None and not answer.refused:
        text, calls, _ = asked.tools.read(answer.text)
    return Piece(text, text[len(told) :], answer, calls)


def _joined(before: Answer, answer: Answer) -> Answer:
    """An answer that took an attempt before it."""
    return replace(
        answer,
        usage=before.usage + answer.usage,
        seconds=before.seconds + answer.seconds,
        time_to_first_token=before.seconds + answer.time_to_first_token,
    )


def _certain(text: str) -> str:
    """What of an unfinished text is no call."""
    if text.startswith(_BEGINNINGS):
        return ""
    for marker in CALL_MARKERS:
        found = text.find(marker)
        if found >= 0:
            text = text[:found]
        for length in range(len(marker) - 1, 0, -1):
            if text.endswith(marker[:length]):
                text = text[:-length]
                break
    return text.rstrip()  # white space before a call is no part of the text
