"""A LlamaIndex chat engine over facts: a conversation with sources."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    MessageRole,
)
from llama_index.core.callbacks import CallbackManager, trace_method
from llama_index.core.chat_engine.types import (
    AgentChatResponse,
    BaseChatEngine,
)
from llama_index.core.instrumentation.events.chat_engine import (
    StreamChatErrorEvent,
    StreamChatStartEvent,
)
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer

from kblam.knowledge import View
from kblam_integrations.llama_index._binding import (
    GraphIndex,
    bound_to_index,
    bound_to_store,
)
from kblam_integrations.llama_index._turn import StreamedReply, Turn, dispatcher
from kblam_integrations.llama_index.llm import KBLaMLLM

__all__ = ["KBLaMChatEngine"]


class KBLaMChatEngine(BaseChatEngine):
    """Answers from facts, turn by turn, and remembers what was said.

    A question may lean on the one before it: "Who is the mayor of Ghent?", "And its population?".
    ``response.source_nodes`` are the facts that a reply was read from; ``response.metadata`` holds
    ``citations``, ``refused``, ``finish_reason``, ``kb_fingerprint``, ``usage`` and the times.
    While streaming they are filled in when the last piece has come.

    The oldest turns are left out where a conversation outgrows the model's context. A turn enters
    the memory when its reply is complete: one that fails, or whose stream is left, is as if it had
    not been.

    Args:
        llm: The model, with the facts.
        memory: Of the conversation; None keeps it in this object.
        system_prompt: Said before every conversation; None takes the model's.
        callback_manager: Of the engine; None takes the model's.

    Examples:
        >>> engine = KBLaMChatEngine.from_index(index)
        >>> engine.chat("Who runs Monell Chemical Senses Center?").source_nodes[0].text
        'The director of Monell Chemical Senses Center is ...'
        >>> engine.chat("And where is its headquarters?").response
        '...'
    """

    def __init__(
        self,
        llm: KBLaMLLM,
        *,
        memory: BaseMemory | None = None,
        system_prompt: str | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self._llm = llm
        self._memory = _memory_for(llm) if memory is None else memory
        said = llm.system_prompt if system_prompt is None else system_prompt
        self._prefix = [ChatMessage(role=MessageRole.SYSTEM, content=said)] if said else []
        self.callback_manager = callback_manager or llm.callback_manager

    @classmethod
    def from_index(
        cls,
        index: GraphIndex,
        llm: KBLaMLLM | None = None,
        *,
        memory: BaseMemory | None = None,
        callback_manager: CallbackManager | None = None,
        **kwargs: Any,
    ) -> KBLaMChatEngine:
        """A chat engine over the graph of an index, which is followed where it changes.

        Args:
            index: A ``KnowledgeGraphIndex`` or a ``PropertyGraphIndex``.
            llm: Whose model and settings to use. None takes the index's or that of
                ``Settings``, if it is a :class:`KBLaMLLM`, else the default one.
            memory: Of the conversation; None keeps it in the engine.
            callback_manager: None takes the index's.
            **kwargs: Settings of :class:`KBLaMLLM`, over those of ``llm``: ``system_prompt``, say.

        Raises:
            UnsupportedSourceError: ``index`` is none of the two.
        """
        return cls(bound_to_index(index, llm, callback_manager, kwargs), memory=memory)

    @classmethod
    def from_store(
        cls,
        kb: Any,
        llm: KBLaMLLM | None = None,
        *,
        memory: BaseMemory | None = None,
        callback_manager: CallbackManager | None = None,
        **kwargs: Any,
    ) -> KBLaMChatEngine:
        """A chat engine over a store, a graph, a path or a list of triples.

        Args:
            kb: Anything that :func:`kblam_integrations.sources.as_store` reads.
            llm: Whose model and settings to use. None takes that of ``Settings``, if it is a
                :class:`KBLaMLLM`, else the default one.
            memory: Of the conversation; None keeps it in the engine.
            callback_manager: None takes that of ``Settings``.
            **kwargs: Settings of :class:`KBLaMLLM`, over those of ``llm``: ``system_prompt``, say.

        Raises:
            UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        """
        return cls(bound_to_store(kb, llm, callback_manager, kwargs), memory=memory)

    def with_view(self, view: View, *, memory: BaseMemory | None = None) -> KBLaMChatEngine:
        """A new conversation, replies reading only what a view shows too.

        New, because what was said to one caller may not be for the eyes of another.

        Args:
            view: It narrows the model's own, if any.
            memory: Of the new conversation; None keeps it in the engine.
        """
        other = KBLaMChatEngine(
            self._llm.with_view(view), memory=memory, callback_manager=self.callback_manager
        )
        other._prefix = self._prefix
        return other

    @property
    def llm(self) -> KBLaMLLM:
        """The model that answers."""
        return self._llm

    @property
    def chat_history(self) -> list[ChatMessage]:
        """What was said so far."""
        return self._memory.get_all()

    def reset(self) -> None:
        """Forget what was said."""
        self._memory.reset()

    @trace_method("chat")
    def chat(
        self, message: str, chat_history: list[ChatMessage] | None = None, **kwargs: Any
    ) -> AgentChatResponse:
        """Reply to a message.

        Args:
            message: What the user says.
            chat_history: Put in place of what is remembered; None leaves it.
            **kwargs: Arguments of the model's call: ``view``, ``max_tokens`` ...
        """
        if chat_history is not None:
            self._memory.set(chat_history)
        turn = Turn(self._llm, message, self._prefix, self._memory.get(input=message))
        reply = self._llm.chat(turn.messages, **kwargs)
        self._memory.put_messages(turn.said(reply.message))
        return turn.response(reply)

    @trace_method("chat")
    async def achat(
        self, message: str, chat_history: list[ChatMessage] | None = None, **kwargs: Any
    ) -> AgentChatResponse:
        """As :meth:`chat`, while the event loop stays free."""
        if chat_history is not None:
            await self._memory.aset(chat_history)
        turn = Turn(self._llm, message, self._prefix, await self._memory.aget(input=message))
        reply = await self._llm.achat(turn.messages, **kwargs)
        await self._memory.aput_messages(turn.said(reply.message))
        return turn.response(reply)

    @trace_method("chat")
    def stream_chat(
        self, message: str, chat_history: list[ChatMessage] | None = None, **kwargs: Any
    ) -> StreamedReply:
        """Reply piece by piece; arguments as of :meth:`chat`."""
        if chat_history is not None:
            self._memory.set(chat_history)
        turn = Turn(self._llm, message, self._prefix, self._memory.get(input=message))
        response = StreamedReply()
        replies = self._llm.stream_chat(turn.messages, **kwargs)
        response.chat_stream = self._pieces(replies, turn, response)
        return response

    @trace_method("chat")
    async def astream_chat(
        self, message: str, chat_history: list[ChatMessage] | None = None, **kwargs: Any
    ) -> StreamedReply:
        """Reply piece by piece while the event loop stays free; arguments as of :meth:`chat`."""
        if chat_history is not None:
            await self._memory.aset(chat_history)
        turn = Turn(self._llm, message, self._prefix, await self._memory.aget(input=message))
        response = StreamedReply()
        replies = await self._llm.astream_chat(turn.messages, **kwargs)
        response.achat_stream = self._apieces(replies, turn, response)
        return response

    def _pieces(
        self, replies: ChatResponseGen, turn: Turn, response: StreamedReply
    ) -> Generator[ChatResponse, None, None]:
        dispatcher.event(StreamChatStartEvent())
        try:
            with closing(replies):
                for reply in replies:
                    yield turn.told(reply, response)
                    if reply.raw is not None:  # the last piece
                        self._memory.put_messages(turn.said(reply.message))
        except Exception as error:
            dispatcher.event(StreamChatErrorEvent(exception=error))
            raise
        turn.end(response)

    async def _apieces(
        self, replies: ChatResponseAsyncGen, turn: Turn, response: StreamedReply
    ) -> AsyncGenerator[ChatResponse, None]:
        dispatcher.event(StreamChatStartEvent())
        try:
            async with aclosing(replies):
                async for reply in replies:
                    yield turn.told(reply, response)
                    if reply.raw is not None:  # the last piece
                        await self._memory.aput_messages(turn.said(reply.message))
        except Exception as error:
            dispatcher.event(StreamChatErrorEvent(exception=error))
            raise
        turn.end(response)


def _memory_for(llm: KBLaMLLM) -> BaseMemory:
    tokenizer = llm.kblam.tokenizer
    return ChatMemoryBuffer.from_defaults(
        token_limit=llm.metadata.context_window,
        tokenizer_fn=lambda text: list(tokenizer(text, add_special_tokens=False)["input_ids"]),
    )
