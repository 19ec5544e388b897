"""From texts to vectors, and from vectors to knowledge tokens."""

from kblam.encoding.adapters import LinearAdapter
from kblam.encoding.embedder import (
    LangChainEmbedder,
    LlamaIndexEmbedder,
    SentenceEncoder,
    as_embedder,
)

__all__ = [
    "LangChainEmbedder",
    "LinearAdapter",
    "LlamaIndexEmbedder",
    "SentenceEncoder",
    "as_embedder",
]
