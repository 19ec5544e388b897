"""A LlamaIndex ``LLM`` whose attention reads the facts of a store."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    field_serializer,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import LLM
from pydantic import computed_field

from kblam.answer import Answer
from kblam.config import GenerationOptions
from kblam.errors import ConfigError
from kblam.knowledge import View
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE
from kblam_integrations.llama_index._background import Worker
from kblam_integrations.llama_index._messages import to_messages
from kblam_integrations.llama_index._options import OPTION_NAMES, merge_options, stop_strings
from kblam_integrations.llama_index._responses import chat_response, completion_response
from kblam_integrations.sources import as_store

__all__ = ["KBLaMLLM"]

# Of the process, not of the configuration.
_UNPICKLED = frozenset({"callback_manager", "rate_limiter"})

_Messages = list[dict[str, str]]
# The text so far, what is new of it, and the answer once it is complete.
_Piece = tuple[str, str, Answer | None]


class KBLaMLLM(LLM):
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

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    kb: Any = Field(default=None, description="The facts: a store, a graph, a path or triples.")
    model: Any = Field(
        default=DEFAULT_BASE, description="Name or folder of the base model, or a loaded one."
    )
    adapter: Any = Field(default="default", description="Name or folder of the adapter.")
    encoder: Any = Field(default=None, description="Sentence encoder; None takes the adapter's.")
    tokenizer: Any = Field(default=None, description="Of a loaded model, where it needs one.")
    device: Any = Field(default=None, description="Where the model runs.")
    dtype: Any = Field(default=None, description="Number format of the weights.")
    grounding: Literal["copy", "off"] = Field(
        default="copy", description="Whether names and numbers are copied from the facts."
    )
    refusal: str | None = Field(default=None, description="The sentence that refuses.")
    view: View | None = Field(default=None, description="Which facts calls may read.")
    max_new_tokens: int = Field(default=128, description="At most so many tokens a reply.")
    temperature: float = Field(default=0.0, description="0 is greedy.")
    top_p: float = Field(default=1.0, description="Nucleus sampling.")
    top_k: int = Field(default=0, description="Sample among so many tokens; 0 is all.")
    num_beams: int = Field(default=1, description="Beam search if above 1.")
    stop: tuple[str, ...] = Field(default=(), description="Strings that end a reply.")
    seed: int | None = Field(default=None, description="For sampling.")

    _kblam: KBLaM = PrivateAttr()
    _worker: Worker = PrivateAttr(default_factory=Worker)

    def __init__(self, kb: Any = None, **settings: Any) -> None:
        if "stop" in settings:
            settings["stop"] = stop_strings(settings["stop"])
        super().__init__(**{"kb": kb, **settings})
        # Not in a validator: pydantic would turn our errors into its own.
        self._options({})
        self._kblam = self._load()

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex serialises the class under."""
        return "kblam_llm"

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> KBLaMLLM:
        """The inverse of ``to_dict``; facts that were not a path are passed again.

        Raises:
            ConfigError: The model had facts in memory, and no ``kb`` is passed.
        """
        data = {**data, **kwargs}
        fingerprint = data.pop("kb_fingerprint", None)
        if fingerprint is not None and data.get("kb") is None:
            raise ConfigError(
                "Expected the facts that this model was saved with, got none: they were not a "
                "path. Pass them, as in KBLaMLLM.from_dict(data, kb=store)."
            )
        return super().from_dict(data)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def kb_fingerprint(self) -> str | None:
        """Changes with the facts. In ``to_dict``, so that caches keyed by it notice."""
        store = self._kblam.store
        return None if store is None else store.fingerprint

    @property
    def kblam(self) -> KBLaM:
        """The model underneath, with the facts attached."""
        return self._kblam

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks of a model before it calls it."""
        return LLMMetadata(
            context_window=self._kblam.context_window,
            num_output=self.max_new_tokens,
            is_chat_model=True,
            is_function_calling_model=False,
            model_name=self._kblam.model_name,
        )

    def to_payload(self) -> dict[str, Any]:
        """What events and traces say about this model."""
        return {
            **super().to_payload(),
            "adapter": self._kblam.adapter_name,
            "kb_fingerprint": self.kb_fingerprint,
        }

    def with_kb(self, kb: Any, **settings: Any) -> KBLaMLLM:
        """The same model with other facts, and other settings where given. Weights are shared.

        Raises:
            UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        """
        other = type(self)(**{**self._configuration(), **settings, "kb": kb})
        other.callback_manager = self.callback_manager
        other.rate_limiter = self.rate_limiter
        return other

    @field_serializer("kb", "model", "adapter", "encoder", "tokenizer", "device", "dtype")
    def _serialise_setting(self, value: Any) -> str | None:
        # Names and paths say how to make it again; what is loaded in memory stays here.
        return str(value) if isinstance(value, (str, Path)) else None

    @field_serializer("view")
    def _serialise_view(self, value: View | None) -> dict[str, Any] | None:
        return None if value is None else value.to_dict()

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
        answer = await self._worker.call(partial(self._ask, to_messages(messages), kwargs))
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
        messages = self._as_messages(prompt, formatted)
        answer = await self._worker.call(partial(self._ask, messages, kwargs))
        return completion_response(answer.text, answer)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Reply to a prompt piece by piece while the event loop stays free."""
        messages = self._as_messages(prompt, formatted)
        return self._worker.iterate(partial(self._stream_complete, messages, kwargs))

    # -- underneath ----------------------------------------------------------------------------

    def _load(self) -> KBLaM:
        model = KBLaM.from_pretrained(
            self.model,
            adapter=self.adapter,
            encoder=self.encoder,
            tokenizer=self.tokenizer,
            device=self.device,
            dtype=self.dtype,
            grounding=self.grounding,
            refusal=self.refusal,
        )
        return model if self.kb is None else model.attach(as_store(self.kb))

    def _options(self, arguments: Mapping[str, Any]) -> GenerationOptions:
        defaults = {name: getattr(self, name) for name in OPTION_NAMES}
        return merge_options(GenerationOptions(**defaults), arguments)

    def _as_messages(self, prompt: str, formatted: bool) -> _Messages:
        # The chat template is the tokenizer's; completion_to_prompt may word the message.
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        return [{"role": "user", "content": prompt}]

    def _of_call(self, arguments: Mapping[str, Any]) -> tuple[GenerationOptions, View | None]:
        arguments = dict(arguments)
        view: View | None = arguments.pop("view", None)
        if view is None:
            view = self.view
        elif self.view is not None:
            view = self.view & view  # a call may narrow what the model may read, never widen it
        return self._options(arguments), view

    def _ask(self, messages: _Messages, arguments: Mapping[str, Any]) -> Answer:
        options, view = self._of_call(arguments)
        return self._kblam.ask(messages, options, view=view)

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

    def _configuration(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set - _UNPICKLED}

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), self._configuration())


def _remake(cls: type[KBLaMLLM], configuration: dict[str, Any]) -> KBLaMLLM:
    return cls(**configuration)
