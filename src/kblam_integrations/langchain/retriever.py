"""The retriever: what a model attends to, as documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from pydantic import Field

from kblam.answer import ScoredFact
from kblam.errors import ConfigError
from kblam.knowledge import View
from kblam.model import KBLaM
from kblam_integrations._leaving import Leaving
from kblam_integrations.langchain import _threads
from kblam_integrations.langchain._knowledge import SETTINGS, KnowledgeSettings

__all__ = ["KBLaMRetriever"]


class KBLaMRetriever(KnowledgeSettings, BaseRetriever):
    """Retrieves the facts that a model attends to when it reads a question.

    Each document's ``page_content`` is a fact as a sentence, its ``id`` the fact's. Its
    ``metadata`` holds ``id``, ``entity``, ``property``, ``value``, ``score`` (0 to 1), ``rank``
    (from 1), and what else is known of the fact where no such name is taken.

    ``k`` and ``view`` may also be given to a call; a call's view narrows the one set here, and
    so does ``config={"configurable": {"kb_view": ...}}``.

    Attributes:
        kb: The facts: anything that :func:`kblam_integrations.sources.as_store` reads.
        k: At most so many documents; never more than the adapter reads, which is 16 with the
            one that kblam ships.
        model: Name or folder of the base model, a loaded one, or a :class:`kblam.KBLaM`;
            ``base_model`` is the same.
        adapter: Name or folder of the knowledge adapter.
        encoder: Sentence encoder; None takes the one that the adapter was trained with.
        tokenizer: Of a loaded model, where it needs one.
        device: Where the model runs.
        dtype: Number format of the weights, or its name.
        view: Which facts calls may read: a view, or the arguments of ``store.view``.

    Raises:
        ConfigError: There are no facts, or a setting is out of range.
        UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        WeightsNotFoundError: The model, the adapter or the encoder is not found.
        AdapterMismatchError: The adapter was trained for another model or encoder.

    Example:
        >>> retriever = KBLaMRetriever(kb=[("Ada Lovelace", "birthplace", "London")], k=1)
        >>> retriever.invoke("Where was Ada Lovelace born?")[0].page_content
        'The birthplace of Ada Lovelace is London.'
    """

    model_config = SETTINGS

    k: int = Field(default=5, ge=1)

    def _check(self) -> None:
        own = self.model.store if isinstance(self.model, KBLaM) else None
        if self.kb is None and own is None:
            raise ConfigError("Expected facts to retrieve from, got none. Pass kb=...")

    def invoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """The facts that a question is about, best first."""
        return super().invoke(input, config, **self._within(config, kwargs))

    async def ainvoke(
        self, input: str, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Document]:
        """Like :meth:`invoke`, while the event loop stays free."""
        return await super().ainvoke(input, config, **self._within(config, kwargs))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        view: Any = None,
    ) -> list[Document]:
        return self._select(query, self._count(k), self._narrowed(view))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        view: Any = None,
    ) -> list[Document]:
        return await _threads.call(
            partial(self._select, query, self._count(k), self._narrowed(view))
        )

    def _count(self, k: int | None) -> int:
        k = self.k if k is None else k
        if k < 1:
            raise ConfigError(f"Expected k, the number of documents, to be 1 or more, got {k}.")
        return k

    def _select(
        self, query: str, k: int, view: View | None, left: Leaving | None = None
    ) -> list[Document]:
        cancelled = None if left is None else left.is_set
        return _documents(self._kblam.select(query, k, view=view, cancelled=cancelled))

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = {
            **super()._get_ls_params(**kwargs),
            "ls_embedding_provider": "kblam",
            "ls_embedding_model": self._kblam.encoder.name,
            "ls_model_name": self._kblam.model_name,
            **self._identity(self._narrowed(kwargs.get("view"))),
        }
        return cast("LangSmithRetrieverParams", params)


def _documents(found: Sequence[ScoredFact]) -> list[Document]:
    return [
        Document(
            id=scored.fact.id,
            page_content=scored.fact.statement,
            metadata={
                **scored.fact.metadata,
                "id": scored.fact.id,
                "entity": scored.fact.entity,
                "property": scored.fact.property,
                "value": scored.fact.value,
                "score": scored.score,
                "rank": rank,
            },
        )
        for rank, scored in enumerate(found, start=1)
    ]
