"""Which facts a model is given, and which model they are given to."""

from __future__ import annotations

from typing import Any

from llama_index.core import KnowledgeGraphIndex, PropertyGraphIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.settings import Settings

from kblam.errors import ConfigError, UnsupportedSourceError
from kblam_integrations.llama_index.llm import KBLaMLLM

__all__ = ["GraphIndex", "bound_to_index", "bound_to_store"]

GraphIndex = KnowledgeGraphIndex | PropertyGraphIndex


def bound_to_index(
    index: GraphIndex,
    llm: KBLaMLLM | None,
    callback_manager: CallbackManager | None,
    settings: dict[str, Any],
) -> KBLaMLLM:
    """A model that reads the graph of an index; the index's own retrieval is not used.

    Args:
        index: A ``KnowledgeGraphIndex`` or a ``PropertyGraphIndex``.
        llm: Whose model and settings to use. None takes the index's or that of ``Settings``, if
            it is a :class:`KBLaMLLM`, else the default one.
        callback_manager: None takes the index's.
        settings: Of :class:`KBLaMLLM`, over those of ``llm``.

    Raises:
        ConfigError: ``llm`` is no :class:`KBLaMLLM`.
        UnsupportedSourceError: ``index`` is none of the two.
    """
    if not isinstance(index, (KnowledgeGraphIndex, PropertyGraphIndex)):
        raise UnsupportedSourceError(
            "Expected a KnowledgeGraphIndex or a PropertyGraphIndex, got "
            f"{type(index).__name__}, which holds no graph. Build one over your graph store, "
            "or pass the store itself to from_store."
        )
    return bound_to_store(
        index,
        _first_kblam(llm, getattr(index, "_llm", None)),
        callback_manager or getattr(index, "_callback_manager", None),
        settings,
    )


def bound_to_store(
    kb: Any,
    llm: KBLaMLLM | None,
    callback_manager: CallbackManager | None,
    settings: dict[str, Any],
) -> KBLaMLLM:
    """A model that reads a store, a graph, a path or a list of triples.

    Args:
        kb: Anything that :func:`kblam_integrations.sources.as_store` reads.
        llm: Whose model and settings to use. None takes that of ``Settings``, if it is a
            :class:`KBLaMLLM`, else the default one.
        callback_manager: None takes that of ``Settings``.
        settings: Of :class:`KBLaMLLM`, over those of ``llm``.

    Raises:
        ConfigError: ``llm`` is no :class:`KBLaMLLM`.
        UnsupportedSourceError: ``kb`` is nothing that can be read as facts.
    """
    # Not Settings.llm: reading that where nothing is set goes looking for OpenAI.
    llm = _first_kblam(llm, Settings._llm)
    bound = KBLaMLLM(kb=kb, **settings) if llm is None else llm.with_kb(kb, **settings)
    bound.callback_manager = callback_manager or Settings.callback_manager
    return bound


def _first_kblam(given: KBLaMLLM | None, fallback: object) -> KBLaMLLM | None:
    """The model that was given, else the fallback if it is one that reads facts."""
    if given is None:
        return fallback if isinstance(fallback, KBLaMLLM) else None
    if not isinstance(given, KBLaMLLM):
        raise ConfigError(
            f"Expected a KBLaMLLM as llm, got {type(given).__name__}, which cannot attend to "
            "facts. Pass a KBLaMLLM, or nothing for the default one."
        )
    return given
