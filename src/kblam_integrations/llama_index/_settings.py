"""The settings of a LlamaIndex model over facts: loading, copying, saving them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    field_serializer,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from pydantic import FieldSerializationInfo, computed_field
from typing_extensions import Self

from kblam._answering import narrowed
from kblam.config import GenerationOptions
from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore, View
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE
from kblam_integrations._fitting import ToolFit
from kblam_integrations._loading import OF_THE_WEIGHTS, check_fixed, load
from kblam_integrations.llama_index._options import (
    SETTING_NAMES,
    checked_view,
    merge_options,
    saved_view,
    stop_strings,
)
from kblam_integrations.sources import as_store

__all__ = ["KnowledgeLLMSettings"]

# Left out where a model is pickled.
_OF_THE_PROCESS = frozenset({"callback_manager", "rate_limiter"})


class KnowledgeLLMSettings(FunctionCallingLLM):
    """Fields of :class:`~kblam_integrations.llama_index.KBLaMLLM`, which documents them."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    # Not shown: facts that a view hides, or an address with a password.
    kb: Any = Field(
        default=None, repr=False, description="The facts: a store, a graph, a path or triples."
    )
    model: Any = Field(
        default=DEFAULT_BASE,
        description="Name or folder of the base model, or one that is loaded, or a KBLaM.",
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
    refusal_threshold: float | None = Field(
        default=None, description="Refuse above this probability; None takes the adapter's."
    )
    tool_threshold: float | None = Field(
        default=None,
        description="What is refused is a call of a tool that is at least so like the question; "
        "None takes what was measured for the encoder.",
    )
    view: View | None = Field(default=None, description="Which facts calls may read.")
    max_new_tokens: int = Field(default=128, description="At most so many tokens a reply.")
    temperature: float = Field(default=0.0, description="0 is greedy.")
    top_p: float = Field(default=1.0, description="Nucleus sampling.")
    top_k: int = Field(default=0, description="Sample among so many tokens; 0 is all.")
    num_beams: int = Field(default=1, description="Beam search if above 1.")
    stop: tuple[str, ...] = Field(default=(), description="Strings that end a reply.")
    seed: int | None = Field(default=None, description="For sampling.")
    only_facts: bool = Field(
        default=False, description="Refuse general requests too: whatever is read from no fact."
    )

    _kblam: KBLaM = PrivateAttr()

    def __init__(self, kb: Any = None, **settings: Any) -> None:
        if "stop" in settings:
            settings["stop"] = stop_strings(settings["stop"])
        if settings.get("view") is not None:
            # Pydantic would make a view of any mapping, and one of all facts of an empty one.
            settings["view"] = saved_view(settings["view"])
        super().__init__(**{"kb": kb, **settings})
        # Not in a validator: pydantic would turn our errors into its own.
        self._options({})
        self._tool_fit()
        self._kblam = self._load()

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "_kblam", None) is not None:
            check_fixed([name], instead="with_kb(kb, ...)")
        super().__setattr__(name, value)

    @classmethod
    def class_name(cls) -> str:
        """The name LlamaIndex serialises the class under."""
        return "kblam_llm"

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """The inverse of ``to_dict``; facts that were not a path are passed again.

        Raises:
            ConfigError: The model had facts in memory, and no ``kb`` is passed.
        """
        data = {**data, **kwargs}
        fingerprint = data.pop("kb_fingerprint", None)
        data.pop("adapter_fingerprint", None)
        if fingerprint is not None and data.get("kb") is None:
            raise ConfigError(
                "Expected the facts that this model was saved with, got none: they were not a "
                "path. Pass them, as in KBLaMLLM.from_dict(data, kb=store)."
            )
        return super().from_dict(data)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def kb_fingerprint(self) -> str | None:
        """Changes with the facts it may read. In ``to_dict``, so that caches notice."""
        store = self._kblam.store
        if store is None:
            return None
        store.catch_up()
        return store.fingerprint_of(narrowed(self._kblam.view, self.view))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def adapter_fingerprint(self) -> str | None:
        """Changes when the adapter is trained again under its old name."""
        return self._kblam.adapter_fingerprint

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
            is_function_calling_model=True,
            model_name=self._kblam.model_name,
        )

    def to_payload(self) -> dict[str, Any]:
        """What events and traces say about this model."""
        return {**super().to_payload(), "adapter": self._kblam.adapter_name}

    def with_kb(self, kb: Any, **settings: Any) -> Self:
        """The same model with other facts, and other settings where given. Weights are shared.

        Raises:
            UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
        """
        other = type(self)(**{**self._configuration(), **settings, "kb": kb})
        for name in self.model_fields_set & _OF_THE_PROCESS:
            setattr(other, name, getattr(self, name))
        return other

    def with_view(self, view: View) -> Self:
        """The same model, reading of its facts only what a view shows too.

        It costs nothing: make one per caller, or per call of what takes no view itself.

        Raises:
            ConfigError: ``view`` is no view.
        """
        return self.model_copy(update={"view": narrowed(self.view, checked_view(view))})

    @field_serializer("kb", "model", *OF_THE_WEIGHTS)
    def _serialise_setting(self, value: Any, info: FieldSerializationInfo) -> str | None:
        # Names and paths say how to make it again; what is loaded in memory stays here.
        if isinstance(value, KnowledgeStore):
            value = value.path
        if isinstance(value, (str, Path, torch.device, torch.dtype)):
            return str(value).removeprefix("torch.")
        return self._kblam.model_name if info.field_name == "model" else None

    @field_serializer("view")
    def _serialise_view(self, value: View | None) -> dict[str, Any] | None:
        return None if value is None else value.to_dict()

    def _load(self) -> KBLaM:
        kblam = load(self, self.model_fields_set)
        return kblam if self.kb is None else kblam.attach(as_store(self.kb))

    def _options(self, arguments: Mapping[str, Any]) -> GenerationOptions:
        defaults = {name: getattr(self, name) for name in SETTING_NAMES}
        return merge_options(GenerationOptions(**defaults), arguments)

    def _tool_fit(self) -> ToolFit:
        return ToolFit(lambda: self._kblam.encoder, self.tool_threshold)

    def _of_call(self, arguments: Mapping[str, Any]) -> tuple[GenerationOptions, View | None]:
        arguments = dict(arguments)
        view = arguments.pop("view", None)
        return self._options(arguments), self._narrowed(view)

    def _narrowed(self, view: View | None) -> View | None:
        return narrowed(self.view, view)

    def _configuration(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set - _OF_THE_PROCESS}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy over the same weights and facts, with some settings of calls changed.

        Args:
            update: The settings to change.
            deep: Weights and facts are shared all the same.

        Raises:
            ConfigError: One of them is fixed once a model is made; see :meth:`with_kb`.
        """
        check_fixed(update or (), instead="with_kb(kb, ...)")
        return super().model_copy(update=update)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Apart from the settings it is weights, facts and a thread, which copies share.
        return self.model_copy()

    def __reduce__(self) -> tuple[Any, ...]:
        configuration = self._configuration()
        if isinstance(self.kb, KnowledgeStore):
            if self.kb.path is None:
                raise pickle.PicklingError(
                    "Expected facts that another process can open, got a KnowledgeStore in "
                    "memory. Give the store a path: KnowledgeStore('facts.db')."
                )
            configuration["kb"] = self.kb.path.resolve()
        return _remake, (type(self), configuration)


def _remake(cls: type[KnowledgeLLMSettings], configuration: dict[str, Any]) -> KnowledgeLLMSettings:
    return cls(**configuration)
