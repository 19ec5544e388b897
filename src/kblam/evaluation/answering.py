"""What every way of answering has in common: questions in, timed replies out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from kblam._questions import place
from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.errors import PromptTooLongError
from kblam.evaluation.config import EvaluationConfig, MethodName
from kblam.evaluation.prompts import DEFAULT_WORDINGS, WORDINGS, messages
from kblam.evaluation.retrieval import Retriever
from kblam.evaluation.tasks import Task
from kblam.knowledge import Triple
from kblam.model import KBLaM

__all__ = ["Method", "Prompt", "Prompted", "Reply"]

Prompt = str | Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Reply:
    """A reply and what it cost.

    Attributes:
        text: The reply.
        refused: Whether the model itself reports a refusal.
        input_tokens: Length of the prompt, facts in it included.
        output_tokens: Length of the reply.
        seconds: From the question to the end of the reply, retrieval included; None where
            several questions were generated together.
        time_to_first_token: From the question to the first token, retrieval included; None
            likewise.
        facts: The facts that the model's fact attention ranks best, best first; None where it
            read none.
    """

    text: str
    refused: bool
    input_tokens: int
    output_tokens: int
    seconds: float | None = None
    time_to_first_token: float | None = None
    facts: tuple[Triple, ...] | None = None


class Method:
    """Answers questions of a task with a model.

    Args:
        model: The model, with no facts attached.
        task: The facts and questions.
        config: The settings.
    """

    name: ClassVar[MethodName]
    # Finds the facts of a question, where the method has a retriever.
    retriever: Retriever | None = None

    def __init__(self, model: KBLaM, task: Task, config: EvaluationConfig) -> None:
        self.model = model
        self.task = task
        self.config = config
        self.options = GenerationOptions(max_new_tokens=config.max_new_tokens)

    def check_questions(self) -> None:
        """See that the model can read each question, before hours of work.

        Raises:
            PromptTooLongError: One leaves no room for a reply; the message names its line.
        """
        window = self.model.context_window
        for question in self.task.questions:
            tokens = self.model.count_tokens(self.bare(question.text))
            if tokens >= window:
                raise PromptTooLongError(
                    f"Expected a prompt of fewer than {window} tokens, the model's context, got "
                    f"{tokens} for the question in {place(self.config.questions, question.index)}, "
                    "facts not counted. Leave that question out."
                )

    def prepare(self) -> None:
        """Do what is done once for all questions: embed, index, attach."""

    def close(self) -> None:
        """Give back what `prepare` took."""

    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures should know, once prepared."""
        return ()

    def bare(self, question: str) -> Prompt:
        """What the model is asked at least: the prompt without facts."""
        return question

    def prompt(self, question: str) -> Prompt:
        """What the model is asked for a question, found facts included."""
        return self.bare(question)

    def answer(self, question: str) -> Reply:
        """Ask one question, timed from the question to the last token."""
        started = time.perf_counter()
        answer = self.ask(question)
        return _reply(answer, time.perf_counter() - started)

    def ask(self, question: str) -> Answer:
        """Ask one question."""
        return self.model.ask(self.prompt(question), self.options)

    def answer_batch(self, questions: Sequence[str]) -> list[Reply]:
        """Ask several questions in one batch, untimed."""
        prompts = [self.prompt(question) for question in questions]
        return [_reply(answer) for answer in self.model.ask_batch(prompts, self.options)]


def _reply(answer: Answer, seconds: float | None = None) -> Reply:
    first = None
    if seconds is not None:
        # All that happens outside the generation (retrieving, reading the store) is taken to
        # happen before the first token.
        first = seconds - answer.seconds + answer.time_to_first_token
    return Reply(
        text=answer.text,
        refused=answer.refused,
        input_tokens=answer.usage.input_tokens,
        output_tokens=answer.usage.output_tokens,
        seconds=seconds,
        time_to_first_token=first,
        facts=tuple(scored.fact for scored in answer.facts) or None,
    )


class Prompted(Method):
    """A method that says everything in the prompt."""

    def bare(self, question: str) -> Prompt:
        """The prompt of a question without facts."""
        return self.fill(question, [])

    def fill(self, question: str, facts: Sequence[str]) -> list[dict[str, str]]:
        """The prompt of a question with certain facts."""
        wording = WORDINGS[self.config.wording or DEFAULT_WORDINGS[self.name]]
        return messages(wording, question=question, facts=facts, refusal=self.model.refusal)

    def count(self, question: str, facts: Sequence[str]) -> int:
        """How many tokens the prompt of a question with certain facts has."""
        return self.model.count_tokens(self.fill(question, facts))
