"""A LlamaIndex retriever whose index is the model's attention."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle

from kblam.errors import ConfigError
from kblam.knowledge import View
from kblam_integrations.llama_index._binding import (
    GraphIndex,
    bound_to_index,
    bound_to_store,
)
from kblam_integrations.llama_index._responses import fact_nodes
from kblam_integrations.llama_index.llm import KBLaMLLM

__all__ = ["KBLaMRetriever"]


class KBLaMRetriever(BaseRetriever):
    """Finds the facts that a question attends to, for any model to read.

    Each node's text states a fact, its score is how strongly the question selects it, 0 to 1, and
    its metadata holds ``entity``, ``property``, ``value`` and ``fact_id`` beside the fact's own.
    A question that the facts do not answer still has facts nearest to it, with scores near 0:
    LlamaIndex's ``SimilarityPostprocessor`` drops them.

    Args:
        llm: The model, with the facts. It writes nothing.
        similarity_top_k: At most so many facts; no more than the adapter reads.
        callback_manager: Of the retrievals; None takes the model's.

    Raises:
        ConfigError: ``similarity_top_k`` is no positive number.

    Examples:
        >>> retriever = KBLaMRetriever.from_index(index, similarity_top_k=2)
        >>> [node.text for node in retriever.retrieve("Who runs Monell Chemical Senses Center?")]
        ['The director of Monell Chemical Senses Center is ...', ...]
    """

    def __init__(
        self,
        llm: KBLaMLLM,
        *,
        similarity_top_k: int = 5,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        if similarity_top_k < 1:
            raise ConfigError(f"Expected a similarity_top_k of at least 1, got {similarity_top_k}.")
        super().__init__(callback_manager=callback_manager or llm.callback_manager)
        self._llm = llm
        self._top_k = similarity_top_k

    @classmethod
    def from_index(
        cls,
        index: GraphIndex,
        llm: KBLaMLLM | None = None,
        *,
        similarity_top_k: int = 5,
        callback_manager: CallbackManager | None = None,
        **kwargs: Any,
    ) -> KBLaMRetriever:
        """A retriever over the graph of an index, which is followed where it changes.

        Args:
            index: A ``KnowledgeGraphIndex`` or a ``PropertyGraphIndex``.
            llm: Whose model and settings to use. None takes the index's or that of
                ``Settings``, if it is a :class:`KBLaMLLM`, else the default one.
            similarity_top_k: At most so many facts.
            callback_manager: None takes the index's.
            **kwargs: Settings of :class:`KBLaMLLM`, over those of ``llm``.

        Raises:
            UnsupportedSourceError: ``index`` is none of the two.
        """
        bound = bound_to_index(index, llm, callback_manager, kwargs)
        return cls(bound, similarity_top_k=similarity_top_k)

    @classmethod
    def from_store(
        cls,
        kb: Any,
        llm: KBLaMLLM | None = None,
        *,
        similarity_top_k: int = 5,
        callback_manager: CallbackManager | None = None,
        **kwargs: Any,
    ) -> KBLaMRetriever:
        """A retriever over a store, a graph, a path or a list of triples.

        Args:
            kb: Anything that :func:`kblam_integrations.sources.as_store` reads.
            llm: Whose model and settings to use. None takes that of ``Settings``, if it is a
                :class:`KBLaMLLM`, else the default one.
            similarity_top_k: At most so many facts.
            callback_manager: None takes that of ``Settings``.
            **kwargs: Settings of :class:`KBLaMLLM`, over those of ``llm``.

        Raises:
            UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        """
        bound = bound_to_store(kb, llm, callback_manager, kwargs)
        return cls(bound, similarity_top_k=similarity_top_k)

    def with_view(self, view: View) -> KBLaMRetriever:
        """The same retriever, finding only what a view shows too."""
        return KBLaMRetriever(
            self._llm.with_view(view),
            similarity_top_k=self._top_k,
            callback_manager=self.callback_manager,
        )

    @property
    def llm(self) -> KBLaMLLM:
        """The model whose attention selects."""
        return self._llm

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return fact_nodes(self._llm.select(query_bundle.query_str, self._top_k))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return fact_nodes(await self._llm.aselect(query_bundle.query_str, self._top_k))
