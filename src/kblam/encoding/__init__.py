"""From texts to vectors, and from vectors to knowledge tokens."""

from kblam.encoding._bert import BertSentences
from kblam.encoding.adapters import LinearAdapter
from kblam.encoding.embedder import (
    CachedEmbedder,
    LangChainEmbedder,
    LlamaIndexEmbedder,
    SentenceEncoder,
    TrainedEncoder,
    as_embedder,
)
from kblam.encoding.evidence import (
    Evidence,
    encode_or_zero,
    guessed_without_name,
    names_something,
    read_evidence,
)
from kblam.encoding.reader import EncoderLayer, QuestionReader

__all__ = [
    "BertSentences",
    "CachedEmbedder",
    "EncoderLayer",
    "Evidence",
    "LangChainEmbedder",
    "LinearAdapter",
    "LlamaIndexEmbedder",
    "QuestionReader",
    "SentenceEncoder",
    "TrainedEncoder",
    "as_embedder",
    "encode_or_zero",
    "guessed_without_name",
    "names_something",
    "read_evidence",
]
