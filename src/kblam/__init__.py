"""Facts as knowledge tokens inside a frozen language model.

Names are imported when they are first used, so that ``kblam.knowledge`` works without PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kblam.answer import Answer, AttentionTrace, Citation, ScoredFact, Usage
    from kblam.config import GenerationOptions, KnowledgeConfig, RefusalConfig, SelectionConfig
    from kblam.constraint import OutputConstraint
    from kblam.errors import KBLaMError
    from kblam.knowledge import Fact, KnowledgeStore, Triple
    from kblam.model import KBLaM

__all__ = [
    "Answer",
    "AttentionTrace",
    "Citation",
    "Fact",
    "GenerationOptions",
    "KBLaM",
    "KBLaMError",
    "KnowledgeConfig",
    "KnowledgeStore",
    "OutputConstraint",
    "RefusalConfig",
    "ScoredFact",
    "SelectionConfig",
    "Triple",
    "Usage",
]

_HOMES = {
    "answer": ("Answer", "AttentionTrace", "Citation", "ScoredFact", "Usage"),
    "config": ("GenerationOptions", "KnowledgeConfig", "RefusalConfig", "SelectionConfig"),
    "constraint": ("OutputConstraint",),
    "errors": ("KBLaMError",),
    "knowledge": ("Fact", "KnowledgeStore", "Triple"),
    "model": ("KBLaM",),
}

if not TYPE_CHECKING:  # a type checker would take any name for a good one

    def __getattr__(name: str) -> Any:
        if name in _HOMES:  # a module itself, as in kblam.errors.FactError
            return import_module(f"kblam.{name}")
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(import_module(f"kblam.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_HOMES})
