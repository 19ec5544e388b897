"""kblam for LlamaIndex: a model, and engines around it, that read facts in attention.

``KBLaMLLM`` is a LlamaIndex ``LLM``; ``KBLaMQueryEngine`` answers from a graph index or a store
with one call to it, ``KBLaMChatEngine`` in a conversation, both naming the facts they read as
``source_nodes``; ``KBLaMRetriever`` finds facts for another model::

    from kblam_integrations.llama_index import KBLaMQueryEngine

    engine = KBLaMQueryEngine.from_index(index)  # KnowledgeGraphIndex or PropertyGraphIndex
    response = engine.query("Who runs Monell Chemical Senses Center?")
    print(response, response.source_nodes)
"""

from __future__ import annotations

from kblam.errors import require

require("llama_index.core", extra="llama-index")

from kblam_integrations.llama_index.chat_engine import (  # noqa: E402 (after the check)
    KBLaMChatEngine,
)
from kblam_integrations.llama_index.llm import KBLaMLLM  # noqa: E402
from kblam_integrations.llama_index.query_engine import KBLaMQueryEngine  # noqa: E402
from kblam_integrations.llama_index.retriever import KBLaMRetriever  # noqa: E402

__all__ = ["KBLaMChatEngine", "KBLaMLLM", "KBLaMQueryEngine", "KBLaMRetriever"]
