"""A LlamaIndex ``LLM`` whose attention reads the facts of a store."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, NamedTuple, cast

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

from kblam.answer import Answer, ScoredFact
from kblam.config import GenerationOptions
from kblam.knowledge import View
from kblam_integrations._leaving import Leaving
from kblam_integrations.llama_index._background import Worker
from kblam_integrations.llama_index._messages import to_messages
from kblam_integrations.llama_index._responses import chat_response, completion_response
from kblam_integrations.llama_index._settings import KnowledgeLLMSettings

__all__ = ["KBLaMLLM"]

_Messages = list[dict[str, str]]
# The text so far, what is new of it, and the answer once it is complete.
_Piece = tuple[str, str, Answer | None]


class _Asked(NamedTuple):
    """What one call asks of the model."""

    messages: _Messages
    options: GenerationOptions
    view: View | None


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

    A view, given here (``view=``) or to a call, says which facts are read. Views narrow each
    other, that of a ``KBLaM`` given as ``model`` included: a call reads what all of them show,
    and is refused where that is nothing.

    Raises:
        ConfigError: A setting is out of range.
        UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        WeightsNotFoundError: The model, the adapter or the encoder is not found.
        AdapterMismatchError: The adapter was trained for another model or encoder.

    Examples:
        >>> llm = KBLaMLLM(kb=[("Ada Lovelace", "birthplace", "London")])
        >>> llm.complete("Where was Ada Lovelace born?").raw["citations"][0]["value"]
        'London'
    """

    _worker: Worker = PrivateAttr(default_factory=Worker)

    # -- chat ----------------------------------------------------------------------------------

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Reply to a conversation."""
        answer = self._ask(self._asked(to_messages(messages), kwargs))
        return chat_response(answer.text, answer)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Reply to a conversation piece by piece."""
        return self._stream_chat(self._asked(to_messages(messages), kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Reply to a conversation while the event loop stays free."""
        answer = await self._aask(self._asked(to_messages(messages), kwargs))
        return chat_response(answer.text, answer)

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Reply piece by piece while the event loop stays free."""
        asked, left = self._asked(to_messages(messages), kwargs), Leaving()
        return self._worker.iterate(partial(self._stream_chat, asked, left), left)

    # -- complete ------------------------------------------------------------------------------

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Reply to a prompt, which is one user message."""
        answer = self._ask(self._asked(self._as_messages(prompt, formatted), kwargs))
        return completion_response(answer.text, answer)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Reply to a prompt piece by piece."""
        return self._stream_complete(self._asked(self._as_messages(prompt, formatted), kwargs))

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """Reply to a prompt while the event loop stays free."""
        answer = await self._aask(self._asked(self._as_messages(prompt, formatted), kwargs))
        return completion_response(answer.text, answer)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Reply to a prompt piece by piece while the event loop stays free."""
        asked, left = self._asked(self._as_messages(prompt, formatted), kwargs), Leaving()
        return self._worker.iterate(partial(self._stream_complete, asked, left), left)

    # -- select --------------------------------------------------------------------------------

    def select(self, question: str, k: int = 5, *, view: View | None = None) -> list[ScoredFact]:
        """The facts that a question is about, best first, without a reply.

        Raises:
            ConfigError: The model has no facts to select from, or ``view`` is no view.
        """
        return self._kblam.select(question, k, view=self._narrowed(view))

    async def aselect(
        self, question: str, k: int = 5, *, view: View | None = None
    ) -> list[ScoredFact]:
        """As :meth:`select`, while the event loop stays free."""
        narrowed = self._narrowed(view)
        return await self._worker.call(lambda: self._kblam.select(question, k, view=narrowed))

    # -- underneath ----------------------------------------------------------------------------

    def _as_messages(self, prompt: str, formatted: bool) -> _Messages:
        # The chat template is the tokenizer's; completion_to_prompt may word the message.
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        return [{"role": "user", "content": prompt}]

    def _asked(self, messages: _Messages, arguments: Mapping[str, Any]) -> _Asked:
        # Read when the call is made, also where the answer is generated later.
        options, view = self._of_call(arguments)
        return _Asked(messages, options, view)

    def _ask(self, asked: _Asked) -> Answer:
        return self._kblam.ask(asked.messages, asked.options, view=asked.view)

    async def _aask(self, asked: _Asked) -> Answer:
        # Streamed, because a stream can be ended: who cancels this call, ends the generation.
        last: _Piece = ("", "", None)
        left = Leaving()
        async with aclosing(self._worker.iterate(partial(self._pieces, asked, left), left)) as all_:
            async for piece in all_:
                last = piece
        return cast("Answer", last[2])

    def _pieces(self, asked: _Asked, left: Leaving | None = None) -> Generator[_Piece, None, None]:
        text = ""
        with closing(self._kblam.stream(asked.messages, asked.options, view=asked.view)) as stream:
            if left is not None:
                left.then(stream.close)
            for delta in stream:
                text += delta
                yield text, delta, None
            if stream.finished:  # else everybody has left
                yield stream.answer.text, "", stream.answer

    def _stream_chat(self, asked: _Asked, left: Leaving | None = None) -> ChatResponseGen:
        with closing(self._pieces(asked, left)) as pieces:
            for text, delta, answer in pieces:
                yield chat_response(text, answer, delta)

    def _stream_complete(self, asked: _Asked, left: Leaving | None = None) -> CompletionResponseGen:
        with closing(self._pieces(asked, left)) as pieces:
            for text, delta, answer in pieces:
                yield completion_response(text, answer, delta)
