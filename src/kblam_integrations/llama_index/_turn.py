"""One turn of a conversation: what is asked, and what becomes of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.chat_engine.types import AgentChatResponse, StreamingAgentChatResponse
from llama_index.core.instrumentation.events.chat_engine import (
    StreamChatDeltaReceivedEvent,
    StreamChatEndEvent,
)
from llama_index.core.tools import ToolOutput
from llama_index_instrumentation import get_dispatcher

from kblam_integrations.llama_index._messages import to_messages
from kblam_integrations.llama_index._responses import source_nodes
from kblam_integrations.llama_index.llm import KBLaMLLM

__all__ = ["StreamedReply", "Turn", "dispatcher"]

dispatcher = get_dispatcher(__name__)


@dataclass
class StreamedReply(StreamingAgentChatResponse):
    """A reply piece by piece. Who stops reading it, ends its generation.

    The reader runs the generation: nothing polls for pieces, and errors are the reader's.
    """

    is_writing_to_memory: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def response_gen(self) -> Generator[str, None, None]:
        """The pieces of a reply made by ``stream_chat``."""
        pieces: Any = self.chat_stream
        with closing(pieces):
            yield from super().response_gen

    async def async_response_gen(self) -> AsyncGenerator[str, None]:
        """The pieces of a reply made by ``astream_chat``."""
        pieces: Any = self.achat_stream
        async with aclosing(pieces), aclosing(super().async_response_gen()) as said:
            async for piece in said:
                yield piece


class Turn:
    """One message of the user, and what becomes of it."""

    def __init__(
        self, llm: KBLaMLLM, message: str, prefix: list[ChatMessage], before: Sequence[ChatMessage]
    ) -> None:
        self._message = ChatMessage(role=MessageRole.USER, content=message)
        self.messages = _within(llm, prefix, list(before), self._message)

    def said(self, reply: ChatMessage) -> list[ChatMessage]:
        """What the memory keeps."""
        return [self._message, reply]

    def response(self, reply: ChatResponse) -> AgentChatResponse:
        """A whole reply."""
        raw: dict[str, Any] = dict(reply.raw or {})
        return AgentChatResponse(
            response=reply.message.content or "",
            sources=[self._source(raw)],
            source_nodes=source_nodes(raw["citations"]),
            metadata=raw,
        )

    def told(self, reply: ChatResponse, response: StreamedReply) -> ChatResponse:
        """A piece; the last one says where the reply comes from."""
        if reply.delta:
            dispatcher.event(StreamChatDeltaReceivedEvent(delta=reply.delta))
        if reply.raw is not None:
            response.source_nodes.extend(source_nodes(reply.raw["citations"]))
            response.sources.append(self._source(dict(reply.raw)))
            response.metadata.update(reply.raw)
        return reply

    def end(self, response: StreamedReply) -> None:
        """Say that the reply is complete."""
        response.is_done = True
        dispatcher.event(StreamChatEndEvent())

    def _source(self, raw: dict[str, Any]) -> ToolOutput:
        return ToolOutput(
            tool_name="kblam",
            content="\n".join(citation["statement"] for citation in raw["citations"]),
            raw_input={"message": self._message.content},
            raw_output=raw,
        )


def _within(
    llm: KBLaMLLM, prefix: list[ChatMessage], before: list[ChatMessage], message: ChatMessage
) -> list[ChatMessage]:
    """A conversation without its oldest turns, as far as the model has no room for them."""
    window = llm.metadata.context_window
    # A reply may be as long as there is room for: that must not cost all that was said before.
    room = window - min(llm.max_new_tokens, window // 2)
    while True:
        messages = [*prefix, *before, message]
        if not before or llm.kblam.count_tokens(to_messages(messages)) <= room:
            return messages
        del before[_oldest(before)]


def _oldest(messages: list[ChatMessage]) -> slice:
    """Where the oldest turn stands: behind what a memory says first, up to the next question."""
    start = 0
    while start < len(messages) - 1 and messages[start].role is MessageRole.SYSTEM:
        start += 1
    end = start + 1
    while end < len(messages) and messages[end].role is not MessageRole.USER:
        end += 1
    return slice(start, end)
