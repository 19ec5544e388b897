"""How a chat model is called: one by one, together, with a configuration, from a cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from kblam_integrations.langchain import _threads
from kblam_integrations.langchain._batching import Pending, asit_together, sit_together
from kblam_integrations.langchain._generation import reply_all
from kblam_integrations.langchain._settings import KnowledgeChatSettings

__all__ = ["KnowledgeChatCalls"]

_Member = tuple[LanguageModelInput, RunnableConfig]  # of a batch


class KnowledgeChatCalls(KnowledgeChatSettings):
    """The calls of :class:`kblam_integrations.langchain.KBLaMChat`."""

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
        _threads.start(reply_all, self._kblam, group)

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
