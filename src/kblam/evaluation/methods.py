"""The ways of answering that are compared, on one model and the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kblam.evaluation.answering import Method, Prompt, Prompted
from kblam.evaluation.config import EvaluationConfig, MethodName
from kblam.evaluation.in_context import CachedPrefix, InContext
from kblam.evaluation.retrieval import BM25Retriever, DenseRetriever, Retriever
from kblam.evaluation.tasks import Task
from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM

__all__ = ["build_method"]


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


class Base(Prompted):
    """The model alone, without facts."""

    name: ClassVar[MethodName] = "base"


class _Retrieved(Prompted):
    """A method that retrieves facts into the prompt, the best one first.

    As many of the top k as the window holds beside the reply.
    """

    retriever: Retriever

    def prompt(self, question: str) -> Prompt:
        """The question and the facts found for it."""
        found = self._found(question)
        return self.fill(question, found[: self._fitting(question, found)])

    def notes(self) -> tuple[str, ...]:
        """Whether there were facts that did not fit."""
        texts = [question.text for question in self.task.questions]
        found = [(text, self._found(text)) for text in texts]
        cut = sum(self._fitting(text, facts) < len(facts) for text, facts in found)
        if not cut:
            return ()
        return (
            f"Not all of the top {self.config.retrieval.top_k} facts fit the context with {cut} of "
            f"{len(texts)} questions: the best of them that fit were pasted.",
        )

    def _found(self, question: str) -> list[str]:
        found = self.retriever.search(question, self.config.retrieval.top_k)
        return [fact.statement for fact in found]

    def _fitting(self, question: str, facts: Sequence[str]) -> int:
        """How many of the first facts fit."""
        limit = self.model.context_window - self.config.max_new_tokens
        fit = len(facts)
        while fit and self.count(question, facts[:fit]) > limit:
            fit -= 1
        return fit


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


_METHODS: tuple[type[Method], ...] = (
    KnowledgeTokens,
    Base,
    Rag,
    InContext,
    CachedPrefix,
    BM25,
)


def build_method(model: KBLaM, task: Task, config: EvaluationConfig) -> Method:
    """The method that the settings name, not yet prepared."""
    return {method.name: method for method in _METHODS}[config.method](model, task, config)
