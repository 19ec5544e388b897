"""How often a model is asked for one reply, and how each time.

With tools a question may take two generations: what the facts answer is answered, and what they
do not say is a call of a tool, if one fits. Each generation is an attempt; each framework says
which comes first and which follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kblam.config import GenerationOptions
from kblam.constraint import OutputConstraint
from kblam.errors import ConfigError
from kblam.model import KBLaM
from kblam.tools import Tool
from kblam_integrations._fitting import ToolFit

__all__ = [
    "Attempt",
    "OfferedTools",
    "has_results",
    "held_to",
    "question_in",
    "tool_choice_of",
]

_REQUIRED = ("any", "required", True)


@dataclass(frozen=True)
class Attempt:
    """One generation.

    Attributes:
        options: How.
        tools: Shown to the model.
        refusing: Whether it may be refused.
        reading: Whether it reads the facts.
        calling: Whether the answer is held to the form of a call of a tool.
    """

    options: GenerationOptions
    tools: tuple[Tool, ...] = ()
    refusing: bool = True
    reading: bool = True
    calling: bool = False

    def model(self, kblam: KBLaM) -> KBLaM:
        """The model for it, on the same weights."""
        if not self.refusing:
            kblam = kblam.with_options(refusal_threshold=1.0)
        return kblam if self.reading else kblam.with_options().detach()


@dataclass(frozen=True)
class OfferedTools:
    """The tools of a call, and what is wanted of them.

    Attributes:
        known: As OpenAI describes them.
        choice: ``"auto"``; ``"required"`` for one of them; or the name of one.
        shown: Whether a model that may answer is shown them. One that never learned to choose
            among tools only answers worse for having read about them.
        fit: Tells which of them a question is about.
    """

    known: tuple[Tool, ...]
    fit: ToolFit = field(compare=False)
    choice: str = "auto"
    shown: bool = True

    def required_call(self, question: str) -> OutputConstraint:
        """The form of a call that is made whatever is asked."""
        if self.choice not in ("auto", "required"):
            return OutputConstraint.tool_call(self.known, self.choice)
        # One that is shown the tools chooses by itself.
        return OutputConstraint.tool_call(
            self.known if self.shown else [self.fit.nearest(question, self.known)]
        )

    def answering(
        self, messages: Sequence[Mapping[str, Any]], options: GenerationOptions, *, refusing: bool
    ) -> Attempt:
        """The attempt that may answer, or call a tool if the model is one that chooses.

        One that never learned to choose reads facts or nothing where a tool is for just what is
        asked: it would make up the weather in Paris instead of leaving it to the tool. Where every
        tool fits, that says nothing of what is asked.
        """
        if self.shown:
            return Attempt(options, self.known, refusing)
        question = question_in(messages)
        if refusing and not self.fit.lets_all_fit and self.fit.fitting(question, self.known):
            options = replace(options, only_facts=True)
        return Attempt(options, refusing=refusing)

    def fitting_call(self, question: str) -> OutputConstraint | None:
        """The form of a call of a tool that a question is about; None where it is about none."""
        fitting = self.fit.fitting(question, self.known)
        if not fitting:
            return None
        return OutputConstraint.tool_call(fitting if self.shown else fitting[:1])


def held_to(form: OutputConstraint, options: GenerationOptions) -> GenerationOptions:
    """Options for an answer in a form, which stop strings would cut short."""
    return replace(options, constraint=form, stop=())


def has_results(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether results of tools follow the last question."""
    for message in reversed(messages):
        if message["role"] in ("tool", "user"):
            return bool(message["role"] == "tool")
    return False


def question_in(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the user asks last; empty where nothing is asked."""
    return next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")


def tool_choice_of(choice: Any, names: Sequence[str]) -> str | None:
    """What is wanted of the tools: ``"auto"``, ``"required"``, the name of one, or None for none.

    Args:
        choice: ``"auto"``, ``"none"``, ``"any"``, ``"required"``, a name, or what OpenAI writes
            for one; None or False is ``"auto"``, True is ``"required"``.
        names: Of the tools, one of which may be called as those words are.

    Raises:
        ConfigError: It is none of these, or one is to be called and there are none.
    """
    if isinstance(choice, Mapping):
        choice = (choice.get("function") or choice).get("name")
    if choice in names:
        return str(choice)
    if choice in (None, False, "auto"):
        return "auto"
    if choice in _REQUIRED:
        if not names:
            raise ConfigError("Expected tools to choose from, got none. Pass tools=[...].")
        return "required"
    if choice == "none":
        return None
    raise ConfigError(
        "Expected tool_choice to be 'auto', 'none', 'any', 'required' or the name of a tool "
        f"({', '.join(names)}), got {choice!r}."
    )
