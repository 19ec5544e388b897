"""A LlamaIndex query engine over a graph: one call of the model, no retrieval step."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponseAsyncGen,
    ChatResponseGen,
    MessageRole,
)
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import NodeWithScore, QueryBundle

from kblam.knowledge import View
from kblam_integrations.llama_index._binding import (
    GraphIndex,
    bound_to_index,
    bound_to_store,
)
from kblam_integrations.llama_index._responses import source_nodes
from kblam_integrations.llama_index.llm import KBLaMLLM

__all__ = ["KBLaMQueryEngine"]


class KBLaMQueryEngine(BaseQueryEngine):
    """Answers from the facts that a :class:`KBLaMLLM` attends to.

    ``response.source_nodes`` are the facts that the answer was read from, as the attention
    shows: each node's text states the fact, its score is the fact's share of the attention, and
    its metadata holds ``entity``, ``property``, ``value`` and ``fact_id``. A refusal has none.
    ``response.metadata`` holds ``citations``, ``refused``, ``finish_reason``,
    ``kb_fingerprint``, ``usage`` and the times. While streaming, both are filled in when the
    last piece has come.

    Args:
        llm: The model, with the facts.
        streaming: Whether queries return a ``StreamingResponse``.
        callback_manager: Of the queries; None takes the model's.

    Examples:
        >>> engine = KBLaMQueryEngine.from_index(index)
        >>> response = engine.query("Who runs Monell Chemical Senses Center?")
        >>> [node.text for node in response.source_nodes]
        ['The director of Monell Chemical Senses Center is ...']
    """

    def __init__(
        self,
        llm: KBLaMLLM,
        *,
        streaming: bool = False,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager or llm.callback_manager)
        self._llm = llm
        self._streaming = streaming

    @classmethod
    def from_index(
        cls,
        index: GraphIndex,
        llm: KBLaMLLM | None = None,
        *,
        streaming: bool = False,
        callback_manager: CallbackManager | None = None,
        **kwargs: Any,
    ) -> KBLaMQueryEngine:
        """An engine over the graph of an index. The index's own retrieval is not used.

        Args:
            index: A ``KnowledgeGraphIndex`` or a ``PropertyGraphIndex``.
            llm: Whose model and settings to use. None takes the index's or that of
                ``Settings``, if it is a :class:`KBLaMLLM`, else the default one.
            streaming: Whether queries return a ``StreamingResponse``.
            callback_manager: Of queries and model; None takes the index's.
            **kwargs: Settings of :class:`KBLaMLLM`, over those of ``llm``.

        Raises:
            UnsupportedSourceError: ``index`` is none of the two.
        """
        bound = bound_to_index(index, llm, callback_manager, kwargs)
        return cls(bound, streaming=streaming)

    @classmethod
    def from_store(
        cls,
        kb: Any,
        llm: KBLaMLLM | None = None,
        *,
        streaming: bool = False,
        callback_manager: CallbackManager | None = None,
        **kwargs: Any,
    ) -> KBLaMQueryEngine:
        """An engine over a store, a graph, a path or a list of triples.

        Args:
            kb: Anything that :func:`kblam_integrations.sources.as_store` reads.
            llm: Whose model and settings to use. None takes that of ``Settings``, if it is a
                :class:`KBLaMLLM`, else the default one.
            streaming: Whether queries return a ``StreamingResponse``.
            callback_manager: Of queries and model; None takes that of ``Settings``.
            **kwargs: Settings of :class:`KBLaMLLM`, over those of ``llm``.

        Raises:
            UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        """
        bound = bound_to_store(kb, llm, callback_manager, kwargs)
        return cls(bound, streaming=streaming)

    def with_view(self, view: View) -> KBLaMQueryEngine:
        """The same engine, reading only what a view shows too: for one caller, or one call."""
        return KBLaMQueryEngine(
            self._llm.with_view(view),
            streaming=self._streaming,
            callback_manager=self.callback_manager,
        )

    @property
    def llm(self) -> KBLaMLLM:
        """The model that answers."""
        return self._llm

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: query_bundle.query_str}
        ) as event:
            messages = self._messages(query_bundle)
            response: RESPONSE_TYPE
            if self._streaming:
                response = _streaming_response(self._llm.stream_chat(messages))
            else:
                reply = self._llm.chat(messages)
                response = _response(reply.message.content, reply.raw)
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with self.callback_manager.event(
            CBEventType.QUERY, payload={EventPayload.QUERY_STR: query_bundle.query_str}
        ) as event:
            messages = self._messages(query_bundle)
            response: RESPONSE_TYPE
            if self._streaming:
                response = _async_streaming_response(await self._llm.astream_chat(messages))
            else:
                reply = await self._llm.achat(messages)
                response = _response(reply.message.content, reply.raw)
            event.on_end(payload={EventPayload.RESPONSE: response})
        return response

    def _messages(self, query_bundle: QueryBundle) -> list[ChatMessage]:
        question = ChatMessage(role=MessageRole.USER, content=query_bundle.query_str)
        if not self._llm.system_prompt:
            return [question]
        return [ChatMessage(role=MessageRole.SYSTEM, content=self._llm.system_prompt), question]


def _response(text: str | None, raw: dict[str, Any]) -> Response:
    return Response(response=text, source_nodes=source_nodes(raw["citations"]), metadata=dict(raw))


def _streaming_response(replies: ChatResponseGen) -> StreamingResponse:
    nodes: list[NodeWithScore] = []
    metadata: dict[str, Any] = {}

    def pieces() -> Generator[str, None, None]:
        with closing(replies):
            for reply in replies:
                if reply.delta:
                    yield reply.delta
                if reply.raw is not None:
                    nodes.extend(source_nodes(reply.raw["citations"]))
                    metadata.update(reply.raw)

    return StreamingResponse(response_gen=pieces(), source_nodes=nodes, metadata=metadata)


def _async_streaming_response(replies: ChatResponseAsyncGen) -> AsyncStreamingResponse:
    nodes: list[NodeWithScore] = []
    metadata: dict[str, Any] = {}

    async def pieces() -> AsyncGenerator[str, None]:
        async with aclosing(replies):
            async for reply in replies:
                if reply.delta:
                    yield reply.delta
                if reply.raw is not None:
                    nodes.extend(source_nodes(reply.raw["citations"]))
                    metadata.update(reply.raw)

    return AsyncStreamingResponse(response_gen=pieces(), source_nodes=nodes, metadata=metadata)
