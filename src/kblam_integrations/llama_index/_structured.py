"""Replies that fill a pydantic class: always valid, or refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictInProgressEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.program.utils import FlexibleModel, process_streaming_objects
from llama_index.core.prompts import PromptTemplate
from llama_index.core.prompts.base import BasePromptTemplate
from llama_index.core.types import PydanticProgramMode
from llama_index_instrumentation import get_dispatcher

from kblam.constraint import OutputConstraint
from kblam.errors import ConstraintError, RefusedError
from kblam_integrations.llama_index._tool_calls import ToolCallingLLM

__all__ = ["StructuredLLM"]

Filled = TypeVar("Filled", bound=BaseModel)

_dispatcher = get_dispatcher(__name__)
# Of LlamaIndex's programs, which call a tool for it.
_OF_PROGRAMS = frozenset({"tool_choice", "tool_required", "allow_parallel_tool_calls"})


class StructuredLLM(ToolCallingLLM):
    """Structured prediction by decoding that cannot leave the schema.

    Each method raises:

    - ``RefusedError``: The facts do not say what is asked. With ``refusal_threshold=1.0`` it is
      filled in all the same.
    - ``ConstraintError``: The class's schema is not supported, has no instance short enough, or
      a validator of the class's own accepts not what fits its schema.
    - ``MissingExtraError``: llguidance is not installed.
    """

    def structured_predict(
        self,
        output_cls: type[Filled],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Filled:
        """Fill a pydantic class from a prompt; errors as of :class:`StructuredLLM`.

        Args:
            output_cls: The class.
            prompt: What is asked.
            llm_kwargs: Arguments of the model's call: ``view``, ``max_tokens`` ...
            **prompt_args: Values of the prompt's variables.
        """
        if not self._holds_forms:
            told: Filled = super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return told
        _dispatcher.event(_started(output_cls, prompt, prompt_args))
        messages, arguments = self._to_fill(output_cls, prompt, llm_kwargs, prompt_args)
        filled = _filled(output_cls, self.chat(messages, **arguments))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=filled))
        return filled

    async def astructured_predict(
        self,
        output_cls: type[Filled],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Filled:
        """As :meth:`structured_predict`, while the event loop stays free."""
        if not self._holds_forms:
            told: Filled = await super().astructured_predict(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return told
        _dispatcher.event(_started(output_cls, prompt, prompt_args))
        messages, arguments = self._to_fill(output_cls, prompt, llm_kwargs, prompt_args)
        filled = _filled(output_cls, await self.achat(messages, **arguments))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=filled))
        return filled

    def stream_structured_predict(
        self,
        output_cls: type[Filled],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Filled | FlexibleModel, None, None]:
        """Fill a pydantic class piece by piece; the last one is complete.

        Arguments as of :meth:`structured_predict`.
        """
        if not self._holds_forms:
            yield from super().stream_structured_predict(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
            return
        _dispatcher.event(_started(output_cls, prompt, prompt_args))
        messages, arguments = self._to_fill(output_cls, prompt, llm_kwargs, prompt_args)
        filling = _Filling(output_cls)
        for reply in self.stream_chat(messages, **arguments):
            yield filling.told(reply)
        filling.end()

    async def astream_structured_predict(
        self,
        output_cls: type[Filled],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Filled | FlexibleModel, None]:
        """As :meth:`stream_structured_predict`, while the event loop stays free."""
        if not self._holds_forms:
            return await super().astream_structured_predict(
                output_cls, prompt, llm_kwargs, **prompt_args
            )
        messages, arguments = self._to_fill(output_cls, prompt, llm_kwargs, prompt_args)

        async def pieces() -> AsyncGenerator[Filled | FlexibleModel, None]:
            _dispatcher.event(_started(output_cls, prompt, prompt_args))
            filling = _Filling(output_cls)
            async for reply in await self.astream_chat(messages, **arguments):
                yield filling.told(reply)
            filling.end()

        return pieces()

    @property
    def _holds_forms(self) -> bool:
        # Another mode is another way, which the caller has chosen.
        return self.pydantic_program_mode is PydanticProgramMode.DEFAULT

    def _to_fill(
        self,
        output_cls: type[BaseModel],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> tuple[list[ChatMessage], dict[str, Any]]:
        """The messages of a call that fills a class, and its arguments."""
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        given = {k: v for k, v in (llm_kwargs or {}).items() if k not in _OF_PROGRAMS}
        schema = output_cls.model_json_schema()
        form = OutputConstraint.json_schema(schema)
        # Stop strings would cut it short.
        return _told(messages, schema), {**given, "constraint": form, "stop": ()}


class _Filling:
    """A class that is filled piece by piece."""

    def __init__(self, output_cls: type[BaseModel]) -> None:
        self._output_cls = output_cls
        self._last: Any = None

    def told(self, reply: ChatResponse) -> Any:
        """What a piece of a reply fills in; all of it, if it is the last."""
        if reply.raw is not None:
            self._last = _filled(self._output_cls, reply)
        else:
            self._last = process_streaming_objects(
                reply, self._output_cls, cur_objects=None if self._last is None else [self._last]
            )
        _dispatcher.event(LLMStructuredPredictInProgressEvent(output=self._last))
        return self._last

    def end(self) -> None:
        """Say that it is complete."""
        _dispatcher.event(LLMStructuredPredictEndEvent(output=self._last))


def _told(messages: list[ChatMessage], schema: dict[str, Any]) -> list[ChatMessage]:
    """A conversation whose system message says what is wanted: unprepared, a model rambles."""
    text = f"Reply in JSON with these properties: {', '.join(schema.get('properties', ()))}."
    if messages and messages[0].role is MessageRole.SYSTEM:
        said, messages = f"{messages[0].content}\n\n{text}", messages[1:]
    else:
        said = text
    return [ChatMessage(role=MessageRole.SYSTEM, content=said), *messages]


def _started(
    output_cls: type[BaseModel], prompt: BasePromptTemplate, arguments: dict[str, Any]
) -> LLMStructuredPredictStartEvent:
    return LLMStructuredPredictStartEvent(
        output_cls=output_cls, template=prompt, template_args=arguments
    )


def _filled(output_cls: type[Filled], reply: ChatResponse) -> Filled:
    text = reply.message.content or ""
    raw: dict[str, Any] = reply.raw or {}
    if raw.get("refused"):
        raise RefusedError(
            f"Expected facts to fill a {output_cls.__name__} with, got none that say what was "
            "asked. Ask for what the facts hold, or set refusal_threshold=1.0 to have it filled "
            "in all the same."
        )
    try:
        return output_cls.model_validate_json(text)
    except ValidationError as error:
        raise ConstraintError(
            f"Expected a reply that {output_cls.__name__} accepts, got {text!r:.300}, which fits "
            f"its schema but not its validators: {error}. Say in the schema what they want."
        ) from error
