"""Facts as knowledge tokens inside a frozen language model."""

from kblam.answer import Answer, AttentionTrace, Citation, ScoredFact, Usage
from kblam.config import GenerationOptions, KnowledgeConfig, RefusalConfig, SelectionConfig
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
    "RefusalConfig",
    "ScoredFact",
    "SelectionConfig",
    "Triple",
    "Usage",
]
