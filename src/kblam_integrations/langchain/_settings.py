"""The settings of a chat model over a knowledge base, and the call they add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from langchain_core.language_models import ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from pydantic import Field, model_validator

from kblam._tool_turns import knows_tools
from kblam.config import GenerationOptions
from kblam.errors import ConfigError
from kblam_integrations._fitting import ToolFit
from kblam_integrations.langchain._knowledge import SETTINGS, KnowledgeSettings
from kblam_integrations.langchain._messages import to_prompt
from kblam_integrations.langchain._request import Request
from kblam_integrations.langchain._results import PROVIDER
from kblam_integrations.langchain._tools import as_form, as_tools

__all__ = ["KnowledgeChatSettings"]

# Standard parameters of hosted chat models: a model in this process has no use for them.
_HOSTED_ONLY = frozenset({"api_key", "base_url"})
# What a single call may set, and the generation option it stands for.
_OPTIONS = {
    "temperature": "temperature",
    "max_tokens": "max_new_tokens",
    "top_p": "top_p",
    "top_k": "top_k",
    "num_beams": "num_beams",
    "seed": "seed",
    "only_facts": "only_facts",
}
_PER_CALL = frozenset(
    {*_OPTIONS, "timeout", "view", "stop", "tools", "tool_choice", "response_format"}
)
# What hosted models are asked for beside tools, and what is so here anyway: a call fits its
# schema, and there is one at a time. The last is what structured output is bound to.
_GRANTED = frozenset({"strict", "parallel_tool_calls", "refusable"})


class KnowledgeChatSettings(KnowledgeSettings, BaseChatModel):
    """The fields of :class:`kblam_integrations.langchain.KBLaMChat`, documented there."""

    model_config = SETTINGS

    grounding: Literal["copy", "off"] = "copy"
    refusal: str | None = None
    refusal_threshold: float | None = None
    tool_threshold: float | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    num_beams: int | None = None
    seed: int | None = None
    only_facts: bool | None = None
    stop: list[str] | None = None
    timeout: float | None = None
    max_retries: int | None = None
    # None, not False: to LangChain, False that is set (as by a copy) forbids streaming.
    streaming: bool | None = None
    batch_size: int = Field(default=8, ge=1)

    # Not in KBLaMChat, so that type checkers derive its signature from the fields.
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.profile is None:
            self.profile = ModelProfile(
                max_input_tokens=self._kblam.context_window,
                text_inputs=True,
                image_inputs=False,
                audio_inputs=False,
                video_inputs=False,
                text_outputs=True,
                tool_calling=True,
                tool_choice=True,
                structured_output=True,
            )

    @model_validator(mode="before")
    @classmethod
    def _drop_hosted_settings(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {name: value for name, value in values.items() if name not in _HOSTED_ONLY}
        return values

    def _check(self) -> None:
        self._options(None, {})
        self._tool_fit()

    @property
    def _llm_type(self) -> str:
        return "kblam-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """All that an answer depends on, the state of facts and adapter included."""
        view = self._narrowed()
        return {
            "model": self._kblam.model_name,
            "adapter": self._kblam.adapter_name,
            "adapter_fingerprint": self._kblam.adapter_fingerprint,
            "grounding": self._kblam.grounding,
            "refusal": self._kblam.refusal,
            "refusal_threshold": self._kblam.refusal_threshold,
            "tool_threshold": self.tool_threshold,
            "kb_fingerprint": self._identity(view).get("kb_fingerprint"),
            "view": None if view is None else view.to_dict(),
            "stop": self.stop,
            **{name: getattr(self, name) for name in _OPTIONS},
        }

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        # The inherited method drops the instance's own stop strings if a call has none.
        stop = self.stop if stop is None else stop
        params: dict[str, Any] = super()._get_invocation_params(stop=stop, **kwargs)
        # What a call may not read has no part in its trace and its key in a cache.
        identity = self._identity(self._narrowed(kwargs.get("view")))
        return {**params, "kb_fingerprint": identity.get("kb_fingerprint")}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(
            ls_provider=PROVIDER,
            ls_model_name=str(kwargs.get("model", self._kblam.model_name)),
            ls_model_type="chat",
        )
        options = self._options(stop, {k: v for k, v in kwargs.items() if k in _OPTIONS})
        params["ls_temperature"] = options.temperature
        params["ls_max_tokens"] = options.max_new_tokens
        if options.stop:
            params["ls_stop"] = list(options.stop)
        view = self._narrowed(kwargs.get("view"))
        return cast("LangSmithParams", {**params, **self._identity(view)})

    def _options(self, stop: list[str] | None, given: Mapping[str, Any]) -> GenerationOptions:
        settings: dict[str, Any] = {}
        for name, option in _OPTIONS.items():
            value = given.get(name)
            value = getattr(self, name) if value is None else value
            if value is not None:
                settings[option] = value
        settings["stop"] = (self.stop if stop is None else stop) or ()  # a lone string is one
        return GenerationOptions(**settings)

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, given: Mapping[str, Any]
    ) -> Request:
        """What a call asks for: its arguments, over those that the model was made with."""
        given = {name: value for name, value in given.items() if name != "stream"}
        if given.get("model", self.model) != self.model:
            raise ConfigError(
                f"Expected a call to KBLaMChat(model={self.model!r}) to leave the model as it "
                f"is, got model={given['model']!r}. An adapter belongs to one model: make a "
                "second KBLaMChat."
            )
        if unknown := sorted(set(given) - _PER_CALL - _GRANTED - {"model"}):
            raise ConfigError(
                f"Expected a call's arguments to be among {sorted(_PER_CALL)}, got {unknown}. "
                "Remove them, or set them where KBLaMChat is made."
            )
        options = self._options(stop, given)
        if form := as_form(given.get("response_format")):
            options = replace(options, constraint=form, stop=())  # which would cut it short
        return Request(
            prompt=to_prompt(messages),
            options=options,
            view=self._narrowed(given.get("view")),
            timeout=self.timeout if given.get("timeout") is None else given["timeout"],
            tools=as_tools(given, shown=self._shows_tools, fit=self._tool_fit()),
        )

    def _tool_fit(self) -> ToolFit:
        return ToolFit(lambda: self._kblam.encoder, self.tool_threshold)

    @property
    def _shows_tools(self) -> bool:
        # Without facts nothing is refused: calls are then the model's own to write.
        return self._kblam.store is None or knows_tools(self._kblam.tokenizer.chat_template)
