"""A LlamaIndex ``LLM`` whose attention reads the facts of a store."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any

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

from kblam.answer import ScoredFact
from kblam.knowledge import View
from kblam_integrations._leaving import Leaving
from kblam_integrations.llama_index._asking import Asked, Piece, pieces_of
from kblam_integrations.llama_index._background import Worker
from kblam_integrations.llama_index._responses import chat_response, completion_response
from kblam_integrations.llama_index._structured import StructuredLLM

__all__ = ["KBLaMLLM"]


class KBLaMLLM(StructuredLLM):
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
        return chat_response(self._ask(self._asked(messages, kwargs)))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Reply to a conversation piece by piece."""
        return self._stream_chat(self._asked(messages, kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Reply to a conversation while the event loop stays free."""
        return chat_response(await self._aask(self._asked(messages, kwargs)))

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Reply piece by piece while the event loop stays free."""
        asked, left = self._asked(messages, kwargs), Leaving()
        return self._worker.iterate(partial(self._stream_chat, asked, left), left)

    # -- complete ------------------------------------------------------------------------------

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Reply to a prompt, which is one user message."""
        return completion_response(self._ask(self._asked_to_complete(prompt, formatted, kwargs)))

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Reply to a prompt piece by piece."""
        return self._stream_complete(self._asked_to_complete(prompt, formatted, kwargs))

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """Reply to a prompt while the event loop stays free."""
        asked = self._asked_to_complete(prompt, formatted, kwargs)
        return completion_response(await self._aask(asked))

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Reply to a prompt piece by piece while the event loop stays free."""
        asked, left = self._asked_to_complete(prompt, formatted, kwargs), Leaving()
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

    def _asked_to_complete(
        self, prompt: str, formatted: bool, arguments: Mapping[str, Any]
    ) -> Asked:
        # The chat template is the tokenizer's; completion_to_prompt may word the message.
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        # A completion is text: it can call no tool, and knows no arguments for it.
        return Asked([{"role": "user", "content": prompt}], *self._of_call(arguments))

    def _ask(self, asked: Asked) -> Piece:
        (last,) = deque(pieces_of(self._kblam, asked), maxlen=1)
        return last

    async def _aask(self, asked: Asked) -> Piece:
        # Streamed, because a stream can be ended: who cancels this call, ends the generation.
        last = Piece("", "")
        left = Leaving()
        pieces = self._worker.iterate(partial(pieces_of, self._kblam, asked, left), left)
        async with aclosing(pieces):
            async for piece in pieces:
                last = piece
        return last

    def _stream_chat(self, asked: Asked, left: Leaving | None = None) -> ChatResponseGen:
        with closing(pieces_of(self._kblam, asked, left)) as pieces:
            for piece in pieces:
                yield chat_response(piece, piece.delta)

    def _stream_complete(self, asked: Asked, left: Leaving | None = None) -> CompletionResponseGen:
        with closing(pieces_of(self._kblam, asked, left)) as pieces:
            for piece in pieces:
                yield completion_response(piece, piece.delta)
