"""What a chat model and a retriever have in common: weights, facts, and who may see which."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from functools import reduce
from typing import Any

from langchain_core.runnables import (
    ConfigurableFieldSpec,
    Runnable,
    RunnableConfig,
    RunnableSerializable,
)
from pydantic import AliasChoices, ConfigDict, Field, PrivateAttr, SkipValidation
from transformers import PreTrainedModel
from typing_extensions import Self

from kblam._answering import narrowed
from kblam.errors import ConfigError
from kblam.knowledge import View
from kblam.model import KBLaM
from kblam.weights import DEFAULT_BASE
from kblam_integrations._loading import OF_ANSWERS, OF_THE_WEIGHTS, check_fixed, load
from kblam_integrations.langchain._bound import BoundKnowledge
from kblam_integrations.langchain._views import KB_VIEW_SPEC, configured_views, without_view
from kblam_integrations.sources import as_store

__all__ = ["SETTINGS", "KnowledgeSettings"]

# Of each class with another LangChain base as well, whose own would prevail: what is misspelt is
# an error.
SETTINGS = ConfigDict(arbitrary_types_allowed=True, extra="forbid")


# Without type arguments: what goes in and comes out is said by the other base class.
class KnowledgeSettings(RunnableSerializable):  # type: ignore[type-arg]
    """Fields of what reads a knowledge base, documented where they are made use of.

    Copies, pickles and configured variants are made through the constructor, which finds the
    weights and the encoded facts in memory: they share them, and any setting may change.
    """

    model_config = SETTINGS

    kb: Any = Field(default=None, exclude=True, repr=False)
    model: Any = Field(default=DEFAULT_BASE, validation_alias=AliasChoices("model", "base_model"))
    adapter: Any = "default"
    encoder: Any = None
    tokenizer: Any = None
    device: Any = None
    dtype: Any = None
    # As it comes: pydantic would make a view of any mapping, of what it knows in it.
    view: SkipValidation[View | Mapping[str, Any] | None] = None

    _kblam: KBLaM = PrivateAttr()

    # Not a validator: pydantic would turn kblam's errors into its own.
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._check()
        kblam = load(self, self._given())
        if isinstance(self.model, KBLaM):
            # Its own, for LangChain's variants, which are made with every field there is.
            for name in type(self).model_fields.keys() & set(OF_ANSWERS):
                setattr(self, name, getattr(kblam, name))
        if self.kb is not None:
            # The store from here on: what is made from these settings then shares it.
            self.kb = as_store(self.kb)
            kblam.attach(self.kb)
        self._kblam = kblam
        self._view(self.view)

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "_kblam", None) is not None:
            check_fixed([name], instead=f"model_copy(update={{'{name}': ...}})")
        super().__setattr__(name, value)

    def _check(self) -> None:
        """Raise an error for settings that will not do, before weights are loaded."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """False: LangChain would leave the facts out of the serialised form.

        It also makes caches read ``_identifying_params``, which changes with the facts.
        """
        return False

    @property
    def kblam(self) -> KBLaM:
        """The model underneath, with the facts attached."""
        return self._kblam

    # -- views ---------------------------------------------------------------------------------

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What ``config={"configurable": ...}`` of a call may hold: ``kb_view``."""
        return [KB_VIEW_SPEC]

    def bind(self, **kwargs: Any) -> Any:  # what LangChain's other base class says it is
        """Fix arguments of later calls.

        A view becomes a setting of the model returned, so that it holds whatever is made of
        it later, and so that calls narrow it. The other arguments are LangChain's to keep.
        """
        view = kwargs.pop("view", None)
        if view is None:
            return BoundKnowledge(bound=self, kwargs=kwargs, config={})
        bound = self.model_copy(update={"view": self._narrowed(view)})
        return bound.bind(**kwargs) if kwargs else bound

    def with_config(
        self, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """Fix the configuration of later calls; for ``kb_view`` that is as :meth:`bind`."""
        view, rest = without_view(config, kwargs)
        if view is None:
            return BoundKnowledge(bound=self, kwargs={}, config=rest)
        bound: Self = self.bind(view=view)
        return bound.with_config(rest)

    def _view(self, view: Any) -> View | None:
        if view is None or isinstance(view, View):
            return view
        store = self._kblam.store
        if store is None:
            raise ConfigError(
                "Expected a knowledge base for the view to filter, got none. "
                "Pass kb=..., or leave the view out."
            )
        with suppress(TypeError):  # of what is no mapping, or has other keys than names
            found = store.view(**view)
            # What filters by nothing was left empty by mistake: it would show everything.
            if found != View():
                return found
        raise ConfigError(
            "Expected a view of the store, or a mapping of what to filter by, as in "
            f"{{'entity': ['Ada Lovelace'], 'team': 'red'}}, got {view!r:.200}. None is "
            "every fact that the model may read."
        )

    def _narrowed(self, *given: Any) -> View | None:
        """The view of a call: what is asked for, of what this model may read."""
        return reduce(narrowed, map(self._view, given), self._view(self.view))

    def _within(self, config: RunnableConfig | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """A call's arguments, with the view that its configuration narrows it to."""
        found = configured_views(config)
        # Without facts there is nothing to hide.
        if not found or self._kblam.store is None:
            return dict(kwargs)
        return {**kwargs, "view": self._narrowed(kwargs.get("view"), *found)}

    def _identity(self, view: View | None) -> dict[str, Any]:
        """Which facts a call reads, for its trace: their state, and how many they are."""
        store = self._kblam.store
        if store is None:
            return {}
        view = narrowed(self._kblam.view, view)
        return {"kb_fingerprint": store.fingerprint_of(view), "kb_facts": store.count(view)}

    # -- copies --------------------------------------------------------------------------------

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy over the same weights and facts, with some settings changed.

        Args:
            update: The settings to change; they are checked.
            deep: As ``copy.deepcopy``: what can be changed is copied, weights and facts are
                shared all the same.
        """
        if update:
            return type(self)(**{**self._settings(), **update})
        return copy.deepcopy(self) if deep else super().model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        copied = super().model_copy()
        for name, value in self._settings().items():
            if isinstance(value, (dict, list)) and name != "callbacks":
                setattr(copied, name, copy.deepcopy(value, memo))
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.model, (PreTrainedModel, KBLaM)):
            raise ConfigError(
                "Expected a model given by its name or folder to pickle, got a loaded one. "
                f"Save it, and pass its folder: {type(self).__name__}(model='folder', ...)."
            )
        return _remade, (type(self), self._settings())

    def _given(self) -> set[str]:
        """The fields that somebody set: LangChain's variants have the defaults of all others."""
        fields = type(self).model_fields
        return {
            name
            for name in self.model_fields_set
            if name not in OF_THE_WEIGHTS or getattr(self, name) != fields[name].default
        }

    def _settings(self) -> dict[str, Any]:
        names = type(self).model_fields.keys() & self.model_fields_set
        return {name: getattr(self, name) for name in names}


def _remade(kind: type[KnowledgeSettings], settings: Mapping[str, Any]) -> KnowledgeSettings:
    return kind(**settings)
