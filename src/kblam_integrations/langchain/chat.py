"""The chat model: LangChain's calls as questions to a model with facts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from kblam.constraint import OutputConstraint
from kblam.errors import require
from kblam_integrations._attempts import tool_choice_of
from kblam_integrations.langchain import _threads
from kblam_integrations.langchain._batching import taken_seat
from kblam_integrations.langchain._calls import KnowledgeChatCalls
from kblam_integrations.langchain._generation import chunks, reply_to
from kblam_integrations.langchain._knowledge import KnowledgeSettings
from kblam_integrations.langchain._messages import to_prompt
from kblam_integrations.langchain._results import register_citations, to_generation
from kblam_integrations.langchain._structured import Method, arguments_of, parser
from kblam_integrations.langchain._tools import as_form, in_openai_form
from kblam_integrations.langchain.retriever import KBLaMRetriever

__all__ = ["KBLaMChat"]

register_citations()


class KBLaMChat(KnowledgeChatCalls):
    """A chat model that reads facts as knowledge tokens and names those it answered from.

    The content of a reply is a plain string. ``response_metadata`` holds ``citations`` (a list
    of dicts), ``refused``, ``finish_reason``, ``kb_fingerprint`` and ``model_name``; the text
    block of ``content_blocks`` carries the citations as annotations. A change of the facts is
    seen by the next call, also through a cache.

    ``temperature``, ``max_tokens``, ``top_p``, ``top_k``, ``num_beams``, ``seed``,
    ``only_facts``, ``stop``, ``timeout`` and ``view`` may also be given to a call or bound;
    None there means the setting made here, and a call's view narrows the one set here. So does
    ``kb_view`` in a call's configuration, or in that of a call around it: ``{"configurable":
    {"kb_view": ...}}``. ``tools``, ``tool_choice`` and ``response_format`` are as
    :meth:`bind_tools` and :meth:`with_structured_output` bind them. Any other argument is an
    error.

    Attributes:
        kb: The facts: anything that :func:`kblam_integrations.sources.as_store` reads, and from
            then on the store made of it. None answers without facts, as the base model does.
        model: Name or folder of the base model, a loaded one, or a :class:`kblam.KBLaM`, whose
            facts and view it keeps where no others are given; ``base_model`` is the same.
        adapter: Name or folder of the knowledge adapter.
        encoder: Sentence encoder; None takes the one that the adapter was trained with.
        tokenizer: Of a loaded model, where it needs one.
        device: Where the model runs.
        dtype: Number format of the weights, or its name.
        grounding: ``"copy"`` writes names and numbers as they stand in the facts.
        refusal: The sentence that refuses; None takes the adapter's.
        refusal_threshold: Refuse above this probability; None takes the adapter's.
        tool_threshold: What the facts do not say is a call of a tool that is at least so much
            like the question, from -1 to 1; None takes what was measured for the encoder, and
            calls the nearest tool whatever is asked where nothing was.
        view: Which facts calls may read: a view, or the arguments of ``store.view``. A call
            that is left with no fact to read is refused.
        temperature: 0, the default, is greedy.
        max_tokens: At most so many tokens a reply; 128 if None.
        top_p: Nucleus sampling.
        top_k: Sample among so many tokens.
        num_beams: Beam search if above 1.
        seed: For sampling.
        only_facts: Refuse general requests too: whatever is read from no fact.
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

        Args:
            messages: The conversation.
            tools: Those that the model is shown with it.

        Raises:
            ConfigError: Something is no tool.
        """
        if not messages:
            return 0
        return self._kblam.count_tokens(to_prompt(messages), in_openai_form(tools or ()))

    def get_token_ids(self, text: str) -> list[int]:
        """The text's tokens, without a chat template."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return list(self._kblam.tokenizer.encode(text, add_special_tokens=False))

    def as_retriever(self, *, k: int = 5) -> KBLaMRetriever:
        """A retriever of the facts that this model attends to, over its weights, facts and view.

        Args:
            k: At most so many documents.

        Raises:
            ConfigError: There are no facts to retrieve from.
        """
        names = (KnowledgeSettings.model_fields.keys() & self.model_fields_set) - {"name"}
        return KBLaMRetriever(**{name: getattr(self, name) for name in names}, k=k)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that may call tools.

        What the facts answer is answered from them. What they do not say is a call of a tool
        instead of a refusal; after a tool's result the model answers in its own words.

        Args:
            tools: Functions with docstrings, pydantic classes, LangChain tools, or dicts that
                describe tools.
            tool_choice: ``"auto"`` (also None); ``"any"`` or ``"required"`` (also True) for a
                call in any case; the name of the tool to call; ``"none"`` for no calls.
            **kwargs: Further arguments of calls.

        Raises:
            ConfigError: Something is no tool, or the choice is none.
            MissingExtraError: llguidance is not installed.
        """
        described = in_openai_form(tools)
        tool_choice_of(tool_choice, [tool["function"]["name"] for tool in described])
        require("llguidance", extra="structured")
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        bound: Runnable[LanguageModelInput, AIMessage] = self.bind(tools=described, **kwargs)
        return bound

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A model whose replies are instances of a schema, which they always fit.

        Args:
            schema: A pydantic class, whose instances are then returned; a TypedDict or a JSON
                schema, for dicts. None, with ``"json_mode"``, is any object.
            method: ``"json_schema"`` and ``"json_mode"`` write the instance;
                ``"function_calling"`` calls a tool with it. All are held to the schema.
            include_raw: Return ``{"raw", "parsed", "parsing_error"}`` and raise nothing.
            strict: Accepted because chat models have it: the schema is held to in any case.
            **kwargs: Further arguments of calls.

        Raises:
            ConfigError: The method is none, or there is no schema.
            ConstraintError: The schema is malformed or not supported.
            MissingExtraError: llguidance is not installed.
            RefusedError: From the model returned: the facts do not say what was asked.
        """
        wanted = arguments_of(schema, method)
        # Now rather than in the first call, in which it is done again.
        as_form(wanted.get("response_format"))
        if "tools" in wanted:
            OutputConstraint.tool_call(wanted["tools"])
        bound: Runnable[LanguageModelInput, AIMessage] = self.bind(**wanted, **kwargs)
        return bound | parser(schema, include_raw=include_raw)

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
        reply = reply_to(self._kblam, request) if seat is None else seat.wait(request)
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
            reply = await _threads.call(partial(reply_to, self._kblam, request))
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
