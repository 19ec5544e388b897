"""A LlamaIndex ``LLM`` whose attention reads the facts of a store."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from kblam.answer import Answer
from kblam_integrations.llama_index._background import Worker
from kblam_integrations.llama_index._messages import to_messages
from kblam_integrations.llama_index._responses import chat_response, completion_response
from kblam_integrations.llama_index._settings import KnowledgeLLMSettings

__all__ = ["KBLaMLLM"]

_Messages = list[dict[str, str]]
# The text so far, what is new of it, and the answer once it is complete.
_Piece = tuple[str, str, Answer | None]


class KBLaMLLM(KnowledgeLLMSettings):
    """A frozen Hugging Face decoder that reads facts as knowledge tokens.

    Responses carry ``raw={"usage", "citations", "refused", "finish_reason", "kb_fingerprint",
    "model", "seconds", "time_to_first_token"}``, while streaming on the last piece. A change of
    the facts is seen by the next call. Pickled by configuration: the other process loads the
    weights itself.

    Any option of a call may also be given to the call: ``llm.chat(messages, temperature=0.7,
    max_tokens=32, stop=".", view=store.view(team="a"))``. An unknown one is an error.

    Args:
        kb: The facts: anything that :func:`kblam_integrations.sources.as_store` reads. None
            answers without facts, as the base model does.

    Raises:
        ConfigError: A setting is out of range.
        UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        WeightsNotFoundError: The model, the adapter or the encoder is not found.
        AdapterMismatchError: The adapter was trained for another model or encoder.

    Example:
        >>> llm = KBLaMLLM(kb=[("Ada Lovelace", "birthplace", "London")])
        >>> llm.complete("Where was Ada Lovelace born?").raw["citations"][0]["value"]
        'London'
    """

    _worker: Worker = PrivateAttr(default_factory=Worker)

    # -- chat ----------------------------------------------------------------------------------

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Reply to a conversation."""
        answer = self._ask(to_messages(messages), kwargs)
        return chat_response(answer.text, answer)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Reply to a conversation piece by piece."""
        return self._stream_chat(to_messages(messages), kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Reply to a conversation while the event loop stays free."""
        answer = await self._aask(to_messages(messages), kwargs)
        return chat_response(answer.text, answer)

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Reply piece by piece while the event loop stays free."""
        return self._worker.iterate(partial(self._stream_chat, to_messages(messages), kwargs))

    # -- complete ------------------------------------------------------------------------------

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Reply to a prompt, which is one user message."""
        answer = self._ask(self._as_messages(prompt, formatted), kwargs)
        return completion_response(answer.text, answer)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Reply to a prompt piece by piece."""
        return self._stream_complete(self._as_messages(prompt, formatted), kwargs)

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """Reply to a prompt while the event loop stays free."""
        answer = await self._aask(self._as_messages(prompt, formatted), kwargs)
        return completion_response(answer.text, answer)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Reply to a prompt piece by piece while the event loop stays free."""
        messages = self._as_messages(prompt, formatted)
        return self._worker.iterate(partial(self._stream_complete, messages, kwargs))

    # -- underneath ----------------------------------------------------------------------------

    def _as_messages(self, prompt: str, formatted: bool) -> _Messages:
        # The chat template is the tokenizer's; completion_to_prompt may word the message.
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        return [{"role": "user", "content": prompt}]

    def _ask(self, messages: _Messages, arguments: Mapping[str, Any]) -> Answer:
        options, view = self._of_call(arguments)
        return self._kblam.ask(messages, options, view=view)

    async def _aask(self, messages: _Messages, arguments: Mapping[str, Any]) -> Answer:
        # Streamed, because a stream can be ended: who cancels this call, ends the generation.
        last: _Piece = ("", "", None)
        pieces = self._worker.iterate(partial(self._pieces, messages, arguments))
        async with aclosing(pieces):
            async for piece in pieces:
                last = piece
        return cast("Answer", last[2])

    def _pieces(
        self, messages: _Messages, arguments: Mapping[str, Any]
    ) -> Generator[_Piece, None, None]:
        options, view = self._of_call(arguments)
        text = ""
        with closing(self._kblam.stream(messages, options, view=view)) as stream:
            for delta in stream:
                text += delta
                yield text, delta, None
            yield stream.answer.text, "", stream.answer

    def _stream_chat(self, messages: _Messages, arguments: Mapping[str, Any]) -> ChatResponseGen:
        with closing(self._pieces(messages, arguments)) as pieces:
            for text, delta, answer in pieces:
                yield chat_response(text, answer, delta)

    def _stream_complete(
        self, messages: _Messages, arguments: Mapping[str, Any]
    ) -> CompletionResponseGen:
        with closing(self._pieces(messages, arguments)) as pieces:
            for text, delta, answer in pieces:
                yield completion_response(text, answer, delta)
