"""The five ways of answering that are compared, on one model and the same questions."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.errors import ConfigError
from kblam.evaluation.config import EvaluationConfig, MethodName
from kblam.evaluation.prompts import DEFAULT_WORDINGS, WORDINGS, messages
from kblam.evaluation.retrieval import BM25Retriever, DenseRetriever, Retriever
from kblam.evaluation.tasks import Task
from kblam.knowledge import KnowledgeStore, Triple
from kblam.model import KBLaM

__all__ = ["Method", "Reply", "build_method"]

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

    def prepare(self) -> None:
        """Do what is done once for all questions: embed, index, attach."""

    def close(self) -> None:
        """Give back what `prepare` took."""

    def prompt(self, question: str) -> Prompt:
        """What the model is asked for a question, found facts included."""
        return question

    def answer(self, question: str) -> Reply:
        """Ask one question, timed from the question to the last token."""
        started = time.perf_counter()
        answer = self.model.ask(self.prompt(question), self.options)
        return _reply(answer, time.perf_counter() - started)

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


class KnowledgeTokens(Method):
    """Facts attached to the attention layers; the prompt is the bare question."""

    name: ClassVar[MethodName] = "kblam"
    _store: KnowledgeStore | None = None

    def prepare(self) -> None:
        """Embed the facts and attach them."""
        self._store = KnowledgeStore.from_source(self.task.facts)
        self._store.encode(self.model.encoder)
        self.model.attach(self._store)

    def close(self) -> None:
        """Detach and drop the facts."""
        if self._store is not None:
            self.model.detach()
            self._store.close()


class _Prompted(Method):
    """A method that says everything in the prompt."""

    def fill(self, question: str, facts: Sequence[str]) -> list[dict[str, str]]:
        """The prompt of a question with certain facts."""
        wording = WORDINGS[self.config.wording or DEFAULT_WORDINGS[self.name]]
        return messages(wording, question=question, facts=facts, refusal=self.model.refusal)


class Base(_Prompted):
    """The model alone, without facts."""

    name: ClassVar[MethodName] = "base"

    def prompt(self, question: str) -> Prompt:
        """The question."""
        return self.fill(question, [])


class _Retrieved(_Prompted):
    """A method that retrieves facts into the prompt, the best one first."""

    retriever: Retriever

    def prompt(self, question: str) -> Prompt:
        """The question and the facts found for it."""
        found = self.retriever.search(question, self.config.retrieval.top_k)
        return self.fill(question, [fact.statement for fact in found])


class Rag(_Retrieved):
    """Dense retrieval by the encoder that `kblam` uses, and the facts in the prompt."""

    name: ClassVar[MethodName] = "rag"

    def prepare(self) -> None:
        """Embed the facts."""
        self.retriever = DenseRetriever(
            self.task.facts, self.model.encoder, text=self.config.retrieval.text
        )


class BM25(_Retrieved):
    """BM25 retrieval, and the facts in the prompt."""

    name: ClassVar[MethodName] = "bm25"

    def prepare(self) -> None:
        """Index the facts."""
        self.retriever = BM25Retriever(self.task.facts, text=self.config.retrieval.text)


class InContext(_Prompted):
    """As many facts in the prompt as the window holds, the same for all questions.

    The gold facts of all asked questions go in first, then others, in the task's seeded order;
    the facts that fit are mixed, so that gold ones do not stand at the top.
    """

    name: ClassVar[MethodName] = "in-context"

    def prepare(self) -> None:
        """Choose the facts that fit beside the longest question.

        Raises:
            ConfigError: Not even the prompt without facts fits.
        """
        window = self.config.context_tokens or self.model.context_window
        limit = window - self.config.max_new_tokens
        longest = max((q.text for q in self.task.questions), key=self.model.count_tokens)
        room = limit - self._count(longest, [])
        if room < 0:
            raise ConfigError(
                f"Expected a context of at least {window - room} tokens for the prompt without "
                f"facts, got {window}. Give more context_tokens, or a model of a longer window."
            )
        chosen = self._first_that_fit(room)
        # Tokens counted line by line are an estimate: the prompt as a whole decides.
        while chosen and self._count(longest, chosen) > limit:
            del chosen[-max(1, len(chosen) // 100) :]
        random.Random(self.config.seed).shuffle(chosen)
        self.statements = chosen

    def _first_that_fit(self, room: int) -> list[str]:
        gold = dict.fromkeys(fact.statement for group in self.task.gold for fact in group)
        order = gold | dict.fromkeys(fact.statement for fact in self.task.facts)
        chosen: list[str] = []
        for statement in order:
            room -= len(self.model.tokenizer.encode(statement + "\n", add_special_tokens=False))
            if room < 0:
                break
            chosen.append(statement)
        return chosen

    def _count(self, question: str, facts: Sequence[str]) -> int:
        return self.model.count_tokens(self.fill(question, facts))

    def prompt(self, question: str) -> Prompt:
        """All facts that fit, and the question."""
        return self.fill(question, self.statements)


_METHODS: tuple[type[Method], ...] = (KnowledgeTokens, Base, Rag, InContext, BM25)


def build_method(model: KBLaM, task: Task, config: EvaluationConfig) -> Method:
    """The method that the settings name, not yet prepared."""
    return {method.name: method for method in _METHODS}[config.method](model, task, config)
