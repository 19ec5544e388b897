"""The chat model: LangChain's calls as questions to a model with facts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, NoReturn

from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from kblam_integrations.langchain import _threads
from kblam_integrations.langchain._batching import Pending, asit_together, sit_together, taken_seat
from kblam_integrations.langchain._generation import answer, answer_all, chunks
from kblam_integrations.langchain._knowledge import KnowledgeSettings
from kblam_integrations.langchain._messages import to_prompt
from kblam_integrations.langchain._results import register_citations, to_generation
from kblam_integrations.langchain._settings import KnowledgeChatSettings
from kblam_integrations.langchain.retriever import KBLaMRetriever

__all__ = ["KBLaMChat"]

register_citations()

_Member = tuple[LanguageModelInput, RunnableConfig]  # of a batch

_NO_TOOLS = (
    "KBLaMChat does not call tools or fill schemas yet. Ask without, and parse the reply's text."
)


class KBLaMChat(KnowledgeChatSettings):
    """A chat model that reads facts as knowledge tokens and names those it answered from.

    The content of a reply is a plain string. ``response_metadata`` holds ``citations`` (a list
    of dicts), ``refused``, ``finish_reason``, ``kb_fingerprint`` and ``model_name``; the text
    block of ``content_blocks`` carries the citations as annotations. A change of the facts is
    seen by the next call, also through a cache.

    ``temperature``, ``max_tokens``, ``top_p``, ``top_k``, ``num_beams``, ``seed``, ``stop``,
    ``timeout`` and ``view`` may also be given to a call or bound; None there means the setting
    made here, and a call's view narrows the one set here. Any other argument is an error.

    Attributes:
        kb: The facts: anything that :func:`kblam_integrations.sources.as_store` reads, and from
            then on the store made of it. None answers without facts, as the base model does.
        model: Name or folder of the base model, or a loaded one; ``base_model`` is the same.
        adapter: Name or folder of the knowledge adapter.
        encoder: Sentence encoder; None takes the one that the adapter was trained with.
        tokenizer: Of a loaded model, where it needs one.
        device: Where the model runs.
        dtype: Number format of the weights, or its name.
        grounding: ``"copy"`` writes names and numbers as they stand in the facts.
        refusal: The sentence that refuses; None takes the adapter's.
        refusal_threshold: Refuse above this probability; None takes the adapter's.
        view: Which facts calls may read: a view, or the arguments of ``store.view``. A call
            that is left with no fact to read is refused.
        temperature: 0, the default, is greedy.
        max_tokens: At most so many tokens a reply; 128 if None.
        top_p: Nucleus sampling.
        top_k: Sample among so many tokens.
        num_beams: Beam search if above 1.
        seed: For sampling.
        stop: Strings that end a reply and are left out of it.
        timeout: Seconds after which a reply is given up, counted from the call.
        max_retries: Accepted because chat models have it. A model in this process has no
            passing failures, so nothing is retried.
        streaming: Whether ``invoke`` generates through the streaming interface.
        batch_size: How many inputs of ``batch`` are generated together.

    Raises:
        ConfigError: A setting is out of range.
        UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        WeightsNotFoundError: The model, the adapter or the encoder is not found.
        AdapterMismatchError: The adapter was trained for another model or encoder.

    Examples:
        >>> chat = KBLaMChat(kb=[("Ada Lovelace", "birthplace", "London")])
        >>> reply = chat.invoke("Where was Ada Lovelace born?")
        >>> reply.response_metadata["citations"][0]["value"]
        'London'
    """

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """How many tokens the conversation, or a part of it, has as the model reads it.

        Raises:
            NotImplementedError: Tools are given.
        """
        if tools:
            raise NotImplementedError(_NO_TOOLS)
        return self._kblam.count_tokens(to_prompt(messages)) if messages else 0

    def get_token_ids(self, text: str) -> list[int]:
        """The text's tokens, without a chat template."""
        return list(self._kblam.tokenizer.encode(text, add_special_tokens=False))

    def as_retriever(self, *, k: int = 5) -> KBLaMRetriever:
        """A retriever of the facts that this model attends to, over its weights, facts and view.

        Args:
            k: At most so many documents.

        Raises:
            ConfigError: There are no facts to retrieve from.
        """
        names = KnowledgeSettings.model_fields.keys() - {"name"}
        return KBLaMRetriever(**{name: getattr(self, name) for name in names}, k=k)

    def bind_tools(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(_NO_TOOLS)

    def with_structured_output(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported yet.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(_NO_TOOLS)

    # -- what comes with a call's configuration -------------------------------------------------

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Reply to a conversation."""
        return super().invoke(input, config, stop=stop, **self._within(config, kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Like :meth:`invoke`, while the event loop stays free."""
        return await super().ainvoke(input, config, stop=stop, **self._within(config, kwargs))

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Reply piece by piece."""
        return super().stream(input, config, stop=stop, **self._within(config, kwargs))

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Like :meth:`stream`, while the event loop stays free."""
        return super().astream(input, config, stop=stop, **self._within(config, kwargs))

    def stream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Reply as LangChain's events."""
        return super().stream_events(input, config, **self._within(config, kwargs))

    def astream_events(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Any:
        """Like :meth:`stream_events`, while the event loop stays free."""
        return super().astream_events(input, config, **self._within(config, kwargs))

    # A cache is asked before the model reads the facts, so its key must not be out of date: a
    # graph behind the store may have changed, and a call around this one may hide some of them.

    def generate(self, *args: Any, **kwargs: Any) -> LLMResult:
        """Reply to conversations, as :meth:`invoke` and others do underneath."""
        if self._is_cached() and self._kblam.store is not None:
            self._kblam.store.catch_up()
        return super().generate(*args, **self._within(None, kwargs))

    async def agenerate(self, *args: Any, **kwargs: Any) -> LLMResult:
        """Like :meth:`generate`, while the event loop stays free."""
        if self._is_cached() and self._kblam.store is not None:
            await asyncio.to_thread(self._kblam.store.catch_up)
        return await super().agenerate(*args, **self._within(None, kwargs))

    def _is_cached(self) -> bool:
        if self.cache is False:
            return False
        return isinstance(self.cache, BaseCache) or get_llm_cache() is not None

    # -- one reply -----------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        seat = taken_seat(self)
        reply = answer(self._kblam, request) if seat is None else seat.wait(request)
        return ChatResult(generations=[to_generation(reply)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        seat = taken_seat(self)
        if seat is None:
            reply = await _threads.call(partial(answer, self._kblam, request))
        else:
            reply = await seat.await_(request)
        return ChatResult(generations=[to_generation(reply)])

    # -- pieces --------------------------------------------------------------------------------

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        with closing(chunks(self._kblam, request)) as pieces:
            for chunk in pieces:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        async with aclosing(_threads.iterate(partial(chunks, self._kblam, request))) as pieces:
            async for chunk in pieces:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    # -- batches -------------------------------------------------------------------------------

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Reply to each input; up to ``batch_size`` of them are generated together.

        ``max_concurrency`` of the config lowers that number.
        """

        def reply(one: _Member) -> AIMessage:
            try:
                return self.invoke(*one, **kwargs)
            except Exception as error:
                if return_exceptions:
                    return error  # type: ignore[return-value]  # as every Runnable does
                raise

        replies: list[AIMessage] = []
        for group in self._groups(inputs, config):
            calls = [partial(reply, one) for one in group]
            replies.extend(sit_together(self, calls, self._answer_elsewhere))
        return replies

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Like :meth:`batch`, while the event loop stays free."""

        async def reply(one: _Member) -> AIMessage:
            try:
                return await self.ainvoke(*one, **kwargs)
            except Exception as error:
                if return_exceptions:
                    return error  # type: ignore[return-value]  # as every Runnable does
                raise

        replies: list[AIMessage] = []
        for group in self._groups(inputs, config):
            calls = [partial(reply, one) for one in group]
            replies.extend(await asit_together(self, calls, self._answer_elsewhere))
        return replies

    def _answer_elsewhere(self, group: list[Pending]) -> None:
        _threads.start(answer_all, self._kblam, group)

    def _groups(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None,
    ) -> Iterator[list[_Member]]:
        if not inputs:
            return
        configs = get_config_list(config, len(inputs))
        size = min(self.batch_size, configs[0].get("max_concurrency") or self.batch_size)
        members = list(zip(inputs, configs, strict=True))
        for start in range(0, len(members), size):
            yield members[start : start + size]
