"""From texts to vectors, and from vectors to knowledge tokens."""

from kblam.encoding.adapters import LinearAdapter
from kblam.encoding.embedder import (
    CachedEmbedder,
    LangChainEmbedder,
    LlamaIndexEmbedder,
    SentenceEncoder,
    as_embedder,
)
from kblam.encoding.evidence import (
    Evidence,
    encode_or_zero,
    guessed_without_name,
    names_something,
    read_evidence,
)

__all__ = [
    "CachedEmbedder",
    "Evidence",
    "LangChainEmbedder",
    "LinearAdapter",
    "LlamaIndexEmbedder",
    "SentenceEncoder",
    "as_embedder",
    "encode_or_zero",
    "guessed_without_name",
    "names_something",
    "read_evidence",
]
